//! What the documentation shows of the commands is what they print.

use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../../docs/guides/rules.md");

/// A line typed in the guide, and what it shows below.
struct Shown<'g> {
    typed: &'g str,
    printed: String,
}

/// Everything typed in the block of the guide that begins with a line.
fn shown_from(first: &str) -> Vec<Shown<'static>> {
    let start = GUIDE.find(first).expect("the guide shows it");
    let block = GUIDE[start..].split("```").next().unwrap();
    block
        .split("$ ")
        .skip(1)
        .map(|part| {
            let (typed, printed) = part.split_once('\n').unwrap();
            Shown {
                typed,
                printed: printed.trim_end().to_owned(),
            }
        })
        .collect()
}

/// What the program prints with the example file, in a folder.
fn printed(typed: &str, folder: &Path) -> String {
    let words = typed.strip_prefix("purgehook ").unwrap().split(' ');
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args(words)
        .args(["--rules", rules])
        .env("GITHUB_WEBHOOK_SECRET", "a secret of the tests")
        .env("GITHUB_TOKEN", "a token of the tests")
        .env("TENCENTCLOUD_SECRET_ID", "an id of the tests")
        .env("TENCENTCLOUD_SECRET_KEY", "a key of the tests")
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{typed}: {said}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn explanations_and_plans_of_the_example_are_as_the_guide_shows_them() {
    let folder = tempfile::tempdir().unwrap();
    let explained = shown_from("$ purgehook explain");
    let mut planned = shown_from("$ cat changes");
    let input = planned.remove(0);
    std::fs::write(folder.path().join("changes"), input.printed).unwrap();

    assert_eq!((explained.len(), planned.len()), (2, 1));
    for shown in explained.iter().chain(&planned) {
        assert_eq!(
            printed(shown.typed, folder.path()),
            shown.printed,
            "{}",
            shown.typed
        );
    }
}
