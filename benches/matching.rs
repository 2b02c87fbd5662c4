//! How long matching one path against all globs of a site takes: purgehook's matcher beside
//! globset's `GlobSet` and regex's `RegexSet`, on the same globs and paths.
//!
//! `cargo bench --bench matching`. Figures are for one thread and depend on the machine.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on should say where"
)]

use std::alloc::System;
use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use purgehook::rules::{Glob, Matcher};
use regex::bytes::{RegexSet, RegexSetBuilder};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PATHS: usize = 1_000_000;
/// A contender that has not seen all paths by then is measured on those it has seen.
const PATIENCE: Duration = Duration::from_secs(8);
/// What `RegexSet` may keep of its automaton. By default it is 2 MB.
const REGEX_CACHE: usize = 256 << 20;

fn main() {
    let mut random = fastrand::Rng::with_seed(7);
    let paths = paths(&mut random);
    println!(
        "{} paths of {} bytes on average\n",
        paths.len(),
        paths.iter().map(String::len).sum::<usize>() / paths.len()
    );
    println!(
        "globs  contender       median  quickest    build ms   memory KB  allocations/path   matches/path"
    );
    // The allocator tidies up after the making of the paths at the next large request: not at a contender's cost.
    black_box(Vec::<u8>::with_capacity(1 << 20));
    for rules in [10, 30, 100, 300, 1_000, 3_000] {
        let globs = globs(&mut random, rules);
        let read_globs = read(&globs);
        let mut found = Vec::new();
        measure(
            rules,
            "GlobSet",
            &paths,
            || glob_set(&globs),
            |set, path| {
                set.matches_candidate_into(&Candidate::new(path), &mut found);
                found.len()
            },
        );
        measure(
            rules,
            "RegexSet",
            &paths,
            || regex_set(&globs),
            |set, path| set.matches(path.as_bytes()).iter().count(),
        );
        measure(
            rules,
            "purgehook",
            &paths,
            || Matcher::new(&read_globs),
            |matcher, path| matcher.matches(path.as_bytes()).len(),
        );
    }

    println!("\nthe same for globs and paths that are made to be slow");
    for (name, globs, paths) in hard() {
        measure(
            globs.len(),
            name,
            &paths,
            || Matcher::new(read(&globs).iter()),
            |matcher, path| matcher.matches(path.as_bytes()).len(),
        );
    }
}

/// Prints a line. The time is in ns a path, over chunks of 1,000 paths: the median and the quickest
/// chunk, which other work on the machine disturbs least; memory is what is held after the last path, caches filled while matching included.
fn measure<M>(
    rules: usize,
    name: &str,
    paths: &[String],
    build: impl FnOnce() -> M,
    mut count: impl FnMut(&M, &str) -> usize,
) {
    let memory = Region::new(ALLOCATOR);
    let started = Instant::now();
    let matcher = build();
    let built = started.elapsed();

    let allocations = Region::new(ALLOCATOR);
    let mut seen = 0;
    let mut matches = 0;
    let started = Instant::now();
    let mut each = Vec::with_capacity(paths.len() / 1_000);
    for some in paths.chunks(1_000) {
        let chunk = Instant::now();
        for path in some {
            matches += black_box(count(&matcher, path));
        }
        each.push(chunk.elapsed().as_nanos() / some.len() as u128);
        seen += some.len();
        if started.elapsed() > PATIENCE {
            break;
        }
    }
    let allocations = allocations.change().allocations;
    let memory = memory.change();
    let held = memory.bytes_allocated as isize - memory.bytes_deallocated as isize;
    drop(matcher);
    each.sort_unstable();
    println!(
        "{rules:>5}  {name:<12} {:>9} {:>9} {:>11.2} {:>11} {:>17.2} {:>14.2}",
        each[each.len() / 2],
        each[0],
        built.as_secs_f64() * 1e3,
        held / 1024,
        allocations as f64 / seen as f64,
        matches as f64 / seen as f64,
    );
}

/// As the configuration does, where every glob is compiled for itself, whatever becomes of it: not part of the build.
fn read(globs: &[String]) -> Vec<Glob> {
    globs.iter().map(|g| Glob::parse(g).unwrap()).collect()
}

fn parsed(glob: &str) -> globset::Glob {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .empty_alternates(true)
        .build()
        .unwrap()
}

fn glob_set(globs: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(parsed(glob));
    }
    set.build().unwrap()
}

fn regex_set(globs: &[String]) -> RegexSet {
    let regexes: Vec<String> = globs.iter().map(|g| parsed(g).regex().to_owned()).collect();
    RegexSetBuilder::new(regexes)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(REGEX_CACHE)
        .dfa_size_limit(REGEX_CACHE)
        .build()
        .unwrap()
}

const AREAS: [&str; 8] = [
    "content", "static", "docs", "src", "assets", "layouts", "data", "packages",
];
const WORDS: [&str; 24] = [
    "posts", "news", "guide", "api", "img", "css", "js", "fonts", "team", "blog", "shop", "help",
    "legal", "events", "press", "labs", "theme", "partials", "i18n", "archive", "search", "feeds",
    "media", "icons",
];
const EXTENSIONS: [&str; 16] = [
    "md", "html", "css", "js", "png", "jpg", "svg", "json", "yaml", "toml", "woff2", "xml", "txt",
    "webp", "ts", "pdf",
];

/// Globs that are in every set, so that most paths match something.
const EVERY_SITE: [&str; 5] = [
    "content/**/*.md",
    "static/**",
    "{src,packages}/**/*.{js,ts,css}",
    "**/index.html",
    "layouts/**",
];

fn pick<'w>(random: &mut fastrand::Rng, words: &[&'w str]) -> &'w str {
    words[random.usize(..words.len())]
}

/// A directory such as rules and paths both name. There are some 2,300 of them.
fn directory(random: &mut fastrand::Rng) -> String {
    let area = pick(random, &AREAS);
    let word = pick(random, &WORDS);
    match random.usize(..12) {
        0 => format!("{area}/{word}"),
        n => format!("{area}/{word}-{n}"),
    }
}

/// Globs as rules files have them, each once.
fn globs(random: &mut fastrand::Rng, count: usize) -> Vec<String> {
    let mut list: Vec<String> = EVERY_SITE.map(str::to_owned).into();
    let mut globs: HashSet<String> = list.iter().cloned().collect();
    while list.len() < count {
        let below = directory(random);
        let word = pick(random, &WORDS);
        let extension = pick(random, &EXTENSIONS);
        let other = pick(random, &EXTENSIONS);
        let number = random.usize(..2_000);
        let glob = match random.usize(..100) {
            0..25 => format!("{below}/**"),
            25..45 => format!("{below}/**/*.{extension}"),
            45..53 => format!("{below}/*.{extension}"),
            53..60 => format!("{below}/**/*.{{{extension},{other}}}"),
            60..68 => format!("{below}/page-{number}.{extension}"),
            68..72 => format!("{below}/*/index.{extension}"),
            72..76 => format!("{below}/[0-9]*-{word}*.{extension}"),
            76..80 => format!("{below}/{word}-*"),
            80..84 => format!("**/{word}-{number}.{extension}"),
            84..88 => format!("**/*.{number}.{extension}"),
            88..91 => format!("**/{word}-{number}/**"),
            91..94 => format!("**/{word}/*.{extension}"),
            94..97 => format!("**/page-{number}.*"),
            _ => format!("{below}/{{en,de,zh}}/**/{word}.{extension}"),
        };
        if globs.insert(glob.clone()) {
            list.push(glob);
        }
    }
    list
}

fn paths(random: &mut fastrand::Rng) -> Vec<String> {
    let mut paths = HashSet::new();
    let mut list = Vec::with_capacity(PATHS);
    while list.len() < PATHS {
        let mut path = directory(random);
        for _ in 0..random.usize(..4) {
            path.push('/');
            path.push_str(pick(random, &WORDS));
            if random.bool() {
                path.push_str(&format!("-{}", random.usize(..2_000)));
            }
        }
        let extension = pick(random, &EXTENSIONS);
        let word = pick(random, &WORDS);
        let number = random.usize(..2_000);
        path.push_str(&match random.usize(..4) {
            0 => format!("/index.{extension}"),
            1 => format!("/page-{number}.{extension}"),
            2 => format!("/2026-{}-{word}.{number}.{extension}", random.usize(1..13)),
            _ => format!("/{word}-{number}.{extension}"),
        });
        if paths.insert(path.clone()) {
            list.push(path);
        }
    }
    list
}

type Hard = (&'static str, Vec<String>, Vec<String>);

fn hard() -> Vec<Hard> {
    let long = |segment: &str| vec![vec![segment; 4_000 / (segment.len() + 1)].join("/"); 1_000];
    let many = |glob: &dyn Fn(usize) -> String| (0..1_000).map(glob).collect::<Vec<String>>();
    vec![
        (
            "no extension",
            many(&|n| format!("**/*a*{n}")),
            long("aaaaaaaaaaaaaaaaaaa"),
        ),
        (
            "deep in deep",
            many(&|n| format!("**/a/**/a/**/a{n}/**/b")),
            long("a"),
        ),
        (
            "all possible",
            many(&|n| format!("{}**/b{n}", "**/*/".repeat(n % 20))),
            long("a"),
        ),
    ]
}
