//! The engine's shape: one object with few methods, and steps that are types with a context.

use std::path::Path;

use crate::modules::rust_files;
use crate::source::{Token, read, without_tests};

/// Methods that `Engine` may have. What needs more is a step, or a part that a step uses.
const MAX_METHODS: usize = 20;
/// Lines that a function of the engine may have.
const MAX_LINES: usize = 70;

/// The files of the engine, by their names below `src/engine`.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
    let mut files = Vec::new();
    rust_files(&folder, &mut files);
    files
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(&folder).unwrap().to_str().unwrap();
            (name.to_owned(), std::fs::read_to_string(&file).unwrap())
        })
        .collect()
}

fn words(text: &str) -> Vec<String> {
    let (tokens, _) = without_tests(&read(text).tokens);
    let words = tokens.iter().filter_map(Token::word);
    words.map(str::to_owned).collect()
}

#[test]
fn only_one_file_implements_the_engine_and_it_has_few_methods() {
    let files = files();
    let implementing: Vec<&str> = files
        .iter()
        .filter(|(_, text)| {
            words(text)
                .windows(2)
                .any(|pair| pair == ["impl", "Engine"])
        })
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(implementing, ["mod.rs"]);

    let (_, text) = files.iter().find(|(name, _)| name == "mod.rs").unwrap();
    let methods = words(text).iter().filter(|word| *word == "fn").count();
    assert!(methods <= MAX_METHODS, "{methods} methods");
}

#[test]
fn requests_go_out_through_the_upstreams_alone() {
    for (name, text) in files() {
        let may_ask = name.starts_with("upstream/") || name == "receive.rs";
        let reaches =
            text.contains("config.forges.get(") || text.contains("config\n        .forges");
        assert!(
            may_ask || !reaches,
            "{name} takes a forge's client past its guard"
        );
    }
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut long = Vec::new();
    for (name, text) in files() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.contains("fn ") && !line.trim_start().starts_with("//");
            if !is_function {
                continue;
            }
            let end = format!("{}}}", &line[..indent]);
            let length = lines[at..].iter().position(|line| *line == end);
            if length.is_some_and(|length| length >= MAX_LINES) {
                long.push(format!("{name}:{}", at + 1));
            }
        }
    }

    assert_eq!(long, [""; 0], "functions of more than {MAX_LINES} lines");
}
