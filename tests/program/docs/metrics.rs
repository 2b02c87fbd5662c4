//! The list of metrics is that of the program.

use std::collections::BTreeMap;

use purgehook::sandbox::Change;

use super::links::files_below;
use super::{Page, root};
use crate::world::World;

/// The metrics that the reference lists, by their names without the endings that a type adds, with their types.
fn listed() -> BTreeMap<String, String> {
    let page = Page::read("docs/reference/metrics.md");
    let (_, table) = page.text.split_once("<!-- metrics -->").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let metrics = rows.filter_map(|row| {
        let (name, rest) = row.split_once("` | ")?;
        let (kind, _) = rest.split_once(" |")?;
        let name = match kind {
            "counter" => name.strip_suffix("_total")?,
            "info" => name.strip_suffix("_info")?,
            _ => name,
        };
        Some((name.to_owned(), kind.to_owned()))
    });
    metrics.collect()
}

#[tokio::test]
async fn the_reference_lists_every_metric_that_is_served_with_its_type() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    world.accepted(&website.push("main").unwrap()).await;
    let answer = world.text("/metrics").await;
    let listed = listed();

    let mut seen = 0;
    for line in answer.lines() {
        let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        seen += 1;
        assert_eq!(listed.get(name).map(String::as_str), Some(kind), "{name}");
    }

    assert!(seen >= 9, "only {seen} were found");
}

/// One of which there is nothing to say yet is not served, so the names are sought in the program's own text.
#[test]
fn every_metric_of_the_reference_is_one_of_the_program() {
    let mut files = Vec::new();
    files_below("src/server", &mut files);
    files.retain(|file| file.contains("metrics"));
    let source: String = files
        .iter()
        .map(|file| std::fs::read_to_string(root().join(file)).unwrap())
        .collect();

    for name in listed().keys() {
        let name = name.strip_prefix("purgehook_").unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
    }
}
