//! Problems in a settings file, formatted for people and for programs.

use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::span::Span;
use crate::numerals::counted;

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what was intended.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its severity.
    pub severity: Severity,
    /// The line, from 1; none for the file as a whole.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: Option<String>,
    /// The position; `0..0` for the whole file.
    #[serde(skip)]
    pub at: Span,
}

/// All problems of one file, in the file's order.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file's name, as given.
    pub file: String,
    /// The problems.
    pub list: Vec<Problem>,
    /// Variables that the file names and that are not set.
    pub unset: Box<[String]>,
    /// Unset variables that only secrets name, if the file was read without its secrets.
    pub unset_secrets: Box<[String]>,
    /// The file itself and the files of its secrets, sorted.
    pub files: Vec<PathBuf>,
    /// The file's text, with the secrets in it masked.
    pub(super) text: Box<str>,
}

impl Problems {
    /// A problem with the whole file.
    pub fn of_file(file: &str, message: String, advice: Option<String>) -> Self {
        Self {
            file: file.to_owned(),
            list: vec![Problem {
                severity: Severity::Error,
                line: None,
                column: None,
                message,
                advice,
                at: 0..0,
            }],
            unset: Box::default(),
            unset_secrets: Box::default(),
            files: vec![PathBuf::from(file)],
            text: Box::default(),
        }
    }

    /// Whether the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|p| p.severity == Severity::Error)
    }

    /// All problems with their lines of the file, and a last line with their number. With colours if `styled`.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut shown: Vec<String> = self
            .list
            .iter()
            .map(|problem| without_c1(&renderer.render(&[self.group(problem)])))
            .collect();
        if !self.unset.is_empty() {
            shown.push(format!(
                "set these environment variables first: {}",
                self.unset.join(", ")
            ));
        }
        shown.extend(self.unset_secrets_in_words());
        if !self.list.is_empty() {
            shown.push(self.count());
        }
        shown.join("\n\n")
    }

    /// One line with the unset variables of secrets; none if all are set.
    pub fn unset_secrets_in_words(&self) -> Option<String> {
        (!self.unset_secrets.is_empty()).then(|| {
            format!(
                "not set here, and needed by `purgehook serve`: {}",
                self.unset_secrets.join(", ")
            )
        })
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&problem.message);
        let group = if problem.line.is_some() {
            title.element(
                Snippet::source(&*self.text)
                    .path(&self.file)
                    .annotation(AnnotationKind::Primary.span(problem.at.clone())),
            )
        } else {
            title.element(Origin::path(&self.file))
        };
        match &problem.advice {
            Some(advice) => group
                .element(Level::HELP.message(annotate_snippets::normalize_untrusted_str(advice))),
            None => group,
        }
    }

    fn count(&self) -> String {
        let errors = self
            .list
            .iter()
            .filter(|p| p.severity == Severity::Error)
            .count();
        let warnings = self.list.len() - errors;
        let of_errors = counted(errors, "error", "errors");
        let of_warnings = counted(warnings, "warning", "warnings");
        let counts = match (errors, warnings) {
            (_, 0) => of_errors,
            (0, _) => of_warnings,
            (_, _) => format!("{of_errors}, {of_warnings}"),
        };
        format!("{}: {counts}", self.file)
    }

    /// Whether to use colours on standard error: only on a terminal, and if they are not disabled
    /// (<https://no-color.org>).
    pub fn colours_wanted() -> bool {
        let asked_for_none = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        std::io::stderr().is_terminal() && !asked_for_none
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

// The same as Display: the masked text is useless, and the original is not kept.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}

/// Removes the control characters U+0080 to U+009F. The renderer keeps them, and some terminals interpret them as
/// the start of a command.
fn without_c1(text: &str) -> String {
    text.replace(|c| ('\u{80}'..='\u{9f}').contains(&c), "\u{b7}")
}

#[cfg(test)]
mod tests {
    use crate::settings::{Environment, File};

    #[test]
    fn what_is_shown_of_a_file_holds_nothing_that_moves_a_cursor() {
        let file = File::new("rules.yaml", "a: b\u{9b}2J\u{1b}[2J", Environment::of([]));
        let _ = file.root();

        let shown = file.problems().render(false);

        assert!(shown.contains("rules.yaml"), "{shown}");
        let bad = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(bad), "{shown:?}");
    }
}
