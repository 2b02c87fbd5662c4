//! The engine in worlds that are made from seeds: pushes, lost requests, deaths,
//! and what must be so once all is quiet again.
//!
//! `PURGEHOOK_SEEDS=5000` runs more worlds; `PURGEHOOK_SEED=17` replays one and prints what happened in it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::cell::RefCell;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

mod caches;
mod cdn;
mod database;
mod forge;
mod process;
mod promises;
mod rules;
mod trace;
mod wire;
mod world;

thread_local! {
    /// What panicked on this thread: a step that does so is done again, and nobody hears of it.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// So many broken worlds tell what there is to tell.
const ENOUGH: usize = 20;

fn watch_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
        usual(info);
    }));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("the variable holds a number"))
}

#[test]
fn in_every_world_what_is_promised_is_kept() {
    let replayed = number("PURGEHOOK_SEED");
    let seeds = match replayed {
        Some(seed) => seed..seed + 1,
        None => 0..number("PURGEHOOK_SEEDS").unwrap_or(500),
    };
    watch_panics();
    let next = Mutex::new(seeds);
    let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
    let some = || {
        loop {
            if failed.lock().unwrap().len() >= ENOUGH {
                return;
            }
            let seed = next.lock().unwrap().next();
            let Some(seed) = seed else { return };
            let happened = catch_unwind(AssertUnwindSafe(|| world::happen(seed)));
            let Ok(trace) = happened else {
                let panics = PANICS.take().join("\n");
                failed.lock().unwrap().push((seed, panics));
                continue;
            };
            if replayed.is_some() {
                println!("{}", trace.lines().join("\n"));
            }
            let broken = trace.all_broken();
            if !broken.is_empty() {
                let broken = broken.join("\n");
                failed.lock().unwrap().push((seed, broken));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(some);
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let told: Vec<String> = failed
        .iter()
        .map(|(seed, broken)| {
            format!("PURGEHOOK_SEED={seed} cargo test --test simulation every_world -- --nocapture\n{broken}")
        })
        .collect();
    assert!(
        told.is_empty(),
        "{} of the worlds up to {:?}:\n{}",
        told.len(),
        next.into_inner().unwrap().start,
        told.join("\n")
    );
}

#[test]
fn the_same_seed_makes_the_same_world() {
    for seed in 0..20 {
        let (once, again) = (world::happen(seed), world::happen(seed));
        assert_eq!(once.hash(), again.hash(), "seed {seed}");
    }
}

/// What a statement may go through from one end to the other: tables with a row for each thing that is to be done,
/// goes wrong or is on its way out, or for each repository of a site, and what has been narrowed down already.
const SMALL: [&str; 13] = [
    "outages",
    "denials",
    "repositories",
    "removals",
    "page",
    "turns",
    "wanted",
    "places",
    "keys",
    "heads",
    "sites",
    "covered",
    "reasons",
];

#[test]
fn however_much_is_kept_no_step_goes_through_all_of_it() {
    let statements = database::statements(|| {
        for seed in 0..30 {
            world::happen(seed);
        }
        world::take_from_a_log();
    });
    assert!(statements.len() > 60, "{}", statements.len());
    for (sql, [empty, full]) in database::costs(&statements) {
        assert!(
            full - empty < database::PAST_RUNS,
            "{empty} steps, and {full} with {} runs that are over:\n{sql}",
            database::PAST_RUNS
        );
    }
    for sql in statements.keys() {
        for scan in database::scans(sql) {
            let name = scan.split(' ').next().unwrap();
            // `(subquery-3)`, `CONSTANT ROW`, `2-ROW VALUES CLAUSE`
            let is_no_table =
                scan.starts_with('(') || scan.ends_with("ROW") || scan.ends_with("CLAUSE");
            // What is running or under way is little.
            let is_running = [
                "work USING INDEX work_leased",
                "runs USING INDEX runs_pending",
            ]
            .contains(&&*scan);
            assert!(
                is_no_table || is_running || SMALL.contains(&name),
                "all of {scan}:\n{sql}"
            );
        }
    }
}
