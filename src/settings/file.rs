//! A settings file that is being read: its source, its environment, and its findings so far.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use secrecy::SecretString;

use super::environment::Environment;
use super::findings::Findings;
use super::problem::{Problem, Problems, Severity};
use super::source::Source;
use super::span::Span;

/// A settings file that is being read. Clones share what was found.
#[derive(Clone)]
pub struct File(Rc<Inner>);

struct Inner {
    source: Source,
    environment: Environment,
    may_lack_secrets: bool,
    findings: RefCell<Findings>,
}

impl File {
    /// Starts to read a file. `name` is its path, and what `<key>_file` paths are relative to.
    pub fn new(name: &str, text: &str, environment: Environment) -> Self {
        Self::start(name, text, environment, false)
    }

    /// As [`new`](Self::new), for those that need no secrets: where one is not set, that is no problem, and something
    /// stands in for it.
    pub fn without_secrets(name: &str, text: &str, environment: Environment) -> Self {
        Self::start(name, text, environment, true)
    }

    fn start(name: &str, text: &str, environment: Environment, may_lack_secrets: bool) -> Self {
        Self(Rc::new(Inner {
            may_lack_secrets,
            source: Source {
                name: name.to_owned(),
                text: text.to_owned(),
            },
            environment,
            findings: RefCell::default(),
        }))
    }

    pub(super) fn source(&self) -> &Source {
        &self.0.source
    }

    /// A variable's value as `${NAME}` has it, kept out of messages; `source` is what they show instead.
    pub(super) fn variable(&self, name: &str, source: &str) -> Option<String> {
        let value = self.0.environment.get(name)?;
        self.keep_confidential(&value, source);
        Some(value)
    }

    /// A variable's value, for keys that fall back to it. An empty one counts as unset.
    pub(super) fn env(&self, name: &str) -> Option<String> {
        self.variable(name, &format!("${{{name}}}"))
            .filter(|value| !value.is_empty())
    }

    /// Keeps a value out of all messages; `shown` stands in its place.
    pub(super) fn keep_confidential(&self, value: &str, shown: &str) {
        let mut findings = self.0.findings.borrow_mut();
        findings.keep_confidential(value, shown);
    }

    /// Notes that a secret was read, wherever it came from.
    pub(super) fn note_secret(&self, secret: &SecretString) {
        self.0.findings.borrow_mut().add_secret(secret);
    }

    /// Notes that a variable is not set.
    pub(super) fn note_unset(&self, name: &str) {
        self.0.findings.borrow_mut().add_unset(name);
    }

    /// Notes a variable that a secret names and that is not set, which is no problem here.
    pub(super) fn note_unset_secret(&self, name: &str) {
        self.0.findings.borrow_mut().add_unset_secret(name);
    }

    /// Whether a secret may be unset.
    pub(super) fn may_lack_secrets(&self) -> bool {
        self.0.may_lack_secrets
    }

    /// Every secret that was read so far.
    pub fn secrets(&self) -> Vec<SecretString> {
        self.0.findings.borrow().secrets()
    }

    /// Notes that a file is read along with this one.
    pub(super) fn reads(&self, path: PathBuf) {
        self.0.findings.borrow_mut().add_file(path);
    }

    /// Masks what stands at a place where the file's lines are shown, unless it only names variables.
    pub(super) fn mask(&self, at: Span) {
        self.0.findings.borrow_mut().mask(at);
    }

    /// Notes a problem or a warning. A place of `0..0` means the file as a whole.
    pub(super) fn note(
        &self,
        severity: Severity,
        at: Span,
        message: String,
        advice: Option<String>,
    ) {
        let whole_file = at == (0..0);
        let at = self.0.source.clip(at);
        let (line, column) = self.0.source.line_and_column(at.start);
        self.0.findings.borrow_mut().add(Problem {
            severity,
            line: (!whole_file).then_some(line),
            column: (!whole_file).then_some(column),
            message,
            advice,
            at,
        });
    }

    /// How many problems that make the file unusable were noted.
    pub(super) fn errors(&self) -> usize {
        self.0.findings.borrow().errors()
    }

    /// Every problem that was noted, in the file's order. Sections that are still alive
    /// have not noted their unknown keys yet.
    pub fn problems(&self) -> Problems {
        self.0.findings.borrow().problems(&self.0.source)
    }
}
