//! Tests the messages and their positions for the invalid files in `bad_files.txt`. The schema's tests read them
//! too.

use std::sync::LazyLock;

use super::ALL_KINDS;
use crate::clock::Clock;
use crate::http::Outbound;
use crate::settings::{Environment, Problems, Severity};

/// An invalid file and its messages.
pub(crate) struct BadFile {
    pub(crate) title: String,
    pub(crate) text: String,
    /// `line:column severity: message | advice`, in the order of the file.
    said: Vec<String>,
    /// Whether the schema rejects it; none if it is not YAML that a schema could be applied to.
    pub(crate) schema_refuses: Option<bool>,
}

impl BadFile {
    pub(crate) fn has_errors(&self) -> bool {
        self.said.iter().any(|line| line.contains("error: "))
    }
}

pub(crate) fn all() -> Vec<BadFile> {
    let mut base = None;
    let mut files = Vec::new();
    for part in include_str!("bad_files.txt").split("\n=== ").skip(1) {
        let (title, lines) = part.split_once('\n').unwrap();
        let with = |mark: &str| {
            let lines = lines.lines().filter_map(|line| line.strip_prefix(mark));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let (from, to) = (with("- "), with("+ "));
        let Some(base) = &base else {
            base = Some(to);
            continue;
        };
        let text = if from.is_empty() {
            to
        } else {
            assert_eq!(base.matches(&from).count(), 1, "{title}: {from}");
            base.replacen(&from, &to, 1)
        };
        files.push(BadFile {
            title: title.to_owned(),
            text,
            said: with("> ").lines().map(str::to_owned).collect(),
            schema_refuses: if lines.contains("\nschema refuses") {
                Some(true)
            } else if lines.contains("\nschema accepts") {
                Some(false)
            } else {
                None
            },
        });
    }
    files
}

/// Created once: reading the system's certificates takes longer than a file does.
static OUTSIDE: LazyLock<Outbound> = LazyLock::new(|| Outbound::new(Clock::system()).unwrap());

fn problems(text: &str) -> Problems {
    let none = Environment::of([]);
    match super::read("rules.yaml", text, none, &OUTSIDE, ALL_KINDS) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    }
}

fn said(text: &str) -> Vec<String> {
    let line = |p: &crate::settings::Problem| {
        let place = p.line.zip(p.column);
        let place = place.map_or_else(String::new, |(line, column)| format!("{line}:{column} "));
        let word = match p.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        // The list of keys is tested with the schema.
        let advice = p.advice.as_deref().unwrap_or_default();
        let advice = advice.split("the keys here are").next().unwrap_or_default();
        let mark = if advice.is_empty() { "" } else { " | " };
        format!("{place}{word}: {}{mark}{}", p.message, advice.trim_end())
    };
    problems(text).list.iter().map(line).collect()
}

#[test]
fn each_bad_file_is_told_all_that_is_wrong_and_where() {
    let files = all();
    assert!(files.len() > 80, "{}", files.len());
    for file in files {
        assert_eq!(
            said(&file.text),
            file.said,
            "{}:\n{}",
            file.title,
            file.text
        );
    }
}

#[test]
fn no_bad_file_shows_a_secret_that_is_written_into_it() {
    for file in all() {
        let shown = problems(&file.text).render(false);
        for secret in [
            "s3cret-of-a-hook",
            "t0ken-of-forge",
            "key-of-cdn-x",
            "p4ssw0rd",
        ] {
            assert!(!shown.contains(secret), "{}:\n{shown}", file.title);
        }
    }
}

#[test]
fn places_stand_where_an_editor_shows_them_whatever_the_lines_end_in() {
    for file in all() {
        let with_mark = format!("\u{feff}{}", file.text.replace('\n', "\r\n"));
        assert_eq!(said(&with_mark), file.said, "{}", file.title);
    }
}

#[test]
fn files_made_to_be_slow_are_refused_in_one_short_message() {
    let list = |name: char, of: &str| format!("{name}: &{name} [{}]\n", [of; 10].join(","));
    let bomb: String = std::iter::once(list('a', "x"))
        .chain(
            ('b'..='i')
                .zip('a'..)
                .map(|(name, of)| list(name, &format!("*{of}"))),
        )
        .collect();
    let deep_lists = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_mappings: String = (0..2_000)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    let files = all();
    let expression = files
        .iter()
        .find(|file| file.text.contains("match_regex: \"^(a\""))
        .unwrap()
        .text
        .replace(
            "^(a",
            &format!("{}x{}", "(abc|".repeat(5_000), ")".repeat(5_000)),
        );
    for (text, expected) in [
        (bomb, "5:29 error: the file holds more than 100000 values"),
        (
            deep_lists,
            "1:259 error: this is not YAML: recursion limit exceeded",
        ),
        (
            deep_mappings,
            "21:21 error: this nests deeper than 20 levels",
        ),
        (expression, "13:22 error: the expression `(abc|"),
        (
            "a: b\0c\n".to_owned(),
            "1:5 error: this is not YAML: unexpected character",
        ),
    ] {
        let said = said(&text);
        let found = said.iter().find(|line| line.starts_with(expected));
        let line = found.unwrap_or_else(|| panic!("{expected}: {said:?}"));
        assert!(line.len() < 500, "{line}");
    }
}
