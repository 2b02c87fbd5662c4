//! The structure of `src`, held to what `src/lib.rs` says of it: the order of its rooms,
//! no import circles, and no word that was given up.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod engine;
mod modules;
mod source;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use self::modules::{Crate, Name, circles};

/// The rooms in the order of the list at the top of `src/lib.rs`.
fn rooms() -> Vec<String> {
    let text = include_str!("../../src/lib.rs");
    let lines = text.lines().filter_map(|line| line.strip_prefix("//! - "));
    lines
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(names, _)| names.split(", "))
        .map(|name| name.trim_matches(['[', ']', '`']).to_owned())
        .collect()
}

/// Each import within a circle, one a line.
fn arrows(circle: &BTreeSet<String>, imports: &BTreeMap<String, BTreeSet<String>>) -> String {
    let arrows = circle.iter().flat_map(|from| {
        let others = imports.get(from).into_iter().flatten();
        others
            .filter(|to| circle.contains(*to))
            .map(move |to| format!("  {from} -> {to}\n"))
    });
    arrows.collect()
}

#[test]
fn the_list_of_rooms_is_complete() {
    let rooms: BTreeSet<String> = rooms().into_iter().collect();
    let modules = Crate::read().imports().into_keys();
    let topmost: BTreeSet<String> = modules
        .filter(|name| name.len() == 1)
        .map(|name| name.concat())
        .collect();

    assert_eq!(rooms, topmost);
}

#[test]
fn a_room_imports_only_from_rooms_above_it() {
    let order = rooms();
    let place = |name: &Name| order.iter().position(|room| Some(room) == name.first());
    let mut wrong = String::new();
    for (name, others) in Crate::read().imports() {
        for other in others.iter().filter(|other| place(&name) < place(other)) {
            wrong.push_str(&format!("  {} -> {}\n", name.join("::"), other.join("::")));
        }
    }

    assert!(
        wrong.is_empty(),
        "src/lib.rs lists the rooms in another order:\n{wrong}"
    );
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let imports: BTreeMap<String, BTreeSet<String>> = Crate::read()
        .imports()
        .into_iter()
        .map(|(name, others)| {
            let others = others.iter().map(|other| other.join("::"));
            (name.join("::"), others.collect())
        })
        .collect();
    let found = circles(&imports);

    let found: Vec<String> = found.iter().map(|c| arrows(c, &imports)).collect();
    assert!(found.is_empty(), "circles:\n{}", found.join("\n"));
}

/// Folders too: what stands in one folder and what stands in another beside it.
#[test]
fn no_folders_import_each_other_in_a_circle() {
    let imports = Crate::read().imports();
    let folders: BTreeSet<&[String]> = imports
        .keys()
        .flat_map(|name| (0..name.len()).map(|end| &name[..end]))
        .collect();
    let mut found = Vec::new();
    for folder in folders {
        let beside = |name: &Name| {
            let within = name.starts_with(folder) && name.len() > folder.len();
            within.then(|| name[..=folder.len()].join("::"))
        };
        let mut between: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, others) in &imports {
            let Some(from) = beside(name) else { continue };
            let others = others.iter().filter_map(beside);
            let others: Vec<String> = others.filter(|to| *to != from).collect();
            between.entry(from).or_default().extend(others);
        }
        let circles = circles(&between);
        found.extend(circles.iter().map(|circle| arrows(circle, &between)));
    }

    assert!(found.is_empty(), "circles:\n{}", found.join("\n"));
}
