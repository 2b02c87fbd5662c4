//! What globs take of memory, counted by the allocator, which only a test of its own can replace.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::alloc::System;

use purgehook::rules::{Glob, Matcher};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Globs of each kind: enough that what they share weighs little.
const GLOBS: usize = 20;

/// Globs that differ in their first segment, so that no two share a node.
fn globs_of(rest: &str) -> Vec<String> {
    (0..GLOBS).map(|n| format!("{n}/{rest}")).collect()
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    format!("{{{}}}", items.join(","))
}

#[test]
fn globs_take_no_more_memory_than_they_say() {
    for (what, rest) in [
        ("usual", "posts/**/*.md".to_owned()),
        ("short", "*".to_owned()),
        ("many stars", "*a".repeat(2_000)),
        ("many classes", "[a-z0-9]".repeat(500)),
        ("many segments", format!("{}b", "a/".repeat(2_000))),
        ("many wildcards", format!("{}b", "*a*/".repeat(1_000))),
        ("many depths", format!("{}b", "**/a*/".repeat(600))),
        ("braces in one segment", "{a,b}".repeat(8)),
        (
            "braces across segments",
            format!("{}x", "{a,b*}/".repeat(7)),
        ),
        ("a list of words", list(500, |n| format!("x{n}"))),
        ("a list of wildcards", list(300, |n| format!("*x{n}/**/*"))),
        ("a list of extensions", list(400, |n| format!("**/*.{n}"))),
        ("too many lines for a tree", "{a,b*,**/c}".repeat(300)),
    ] {
        let texts = globs_of(&rest);
        let region = Region::new(ALLOCATOR);
        let globs: Vec<Glob> = texts
            .iter()
            .map(|text| Glob::parse(text).unwrap())
            .collect();
        let matcher = Matcher::new(&globs);
        let change = region.change();
        let held = change.bytes_allocated - change.bytes_deallocated;
        let said: usize = globs.iter().map(Matcher::memory_of).sum();

        println!(
            "{what}: {} bytes a glob of {} said",
            held / GLOBS,
            said / GLOBS
        );
        assert!(held <= said, "{what}: {held} bytes, but {said} were said");
        drop(matcher);
    }
}
