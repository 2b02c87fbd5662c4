//! The fuzz targets on their seeds and on a few changes to them, so that neither rots. CONTRIBUTING.md says how to fuzz.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

/// Changed copies of each seed.
const CHANGED: usize = 20;

/// Runs a target on its seeds, and on copies with a few bytes changed, the same ones every time.
fn replay(name: &str, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    let mut paths: Vec<_> = std::fs::read_dir(seeds)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no seeds");
    let mut random = fastrand::Rng::with_seed(1);
    for path in paths {
        let seed = std::fs::read(path).unwrap();
        run(&seed);
        for _ in 0..CHANGED {
            let mut changed = seed.clone();
            for _ in 0..random.usize(1..4) {
                let place = random.usize(0..changed.len());
                changed[place] = random.u8(..);
            }
            changed.truncate(random.usize(1..=changed.len()));
            run(&changed);
        }
    }
}

#[test]
fn rules_files_are_read_or_refused() {
    replay("rules_file", targets::rules_file::run);
}

#[test]
fn globs_match_what_globset_says() {
    replay("globs", targets::globs::run);
}

#[test]
fn templates_make_urls_that_stay_on_their_hosts() {
    replay("templates", targets::templates::run);
}

#[test]
fn payloads_are_understood_or_refused() {
    replay("payloads", targets::payloads::run);
}

#[test]
fn forms_read_as_the_url_standard_says() {
    replay("forms", targets::forms::run);
}

#[test]
fn no_answer_of_a_cdn_does_harm() {
    replay("cdn_answers", targets::cdn_answers::run);
}

#[test]
fn no_answer_of_a_forge_does_harm() {
    replay("forge_answers", targets::forge_answers::run);
}
