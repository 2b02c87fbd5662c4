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

/// A settings file that is being read. Clones share its findings.
#[derive(Clone)]
pub struct File(Rc<Inner>);

struct Inner {
    source: Source,
    environment: Environment,
    may_lack_secrets: bool,
    findings: RefCell<Findings>,
}

impl File {
    /// Starts reading a file. `name` is its path, the base of relative `<key>_file` paths.
    pub fn new(name: &str, text: &str, environment: Environment) -> Self {
        Self::start(name, text, environment, false)
    }

    /// Like [`new`](Self::new), for commands that need no secrets: an unset one is no problem, and a placeholder
    /// replaces it.
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

    /// A variable's value for `${NAME}`, hidden in messages, which show `source` instead.
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

    /// Hides a value in all messages, which show `shown` instead.
    pub(super) fn keep_confidential(&self, value: &str, shown: &str) {
        let mut findings = self.0.findings.borrow_mut();
        findings.keep_confidential(value, shown);
    }

    /// Records a secret, from any source.
    pub(super) fn note_secret(&self, secret: &SecretString) {
        self.0.findings.borrow_mut().add_secret(secret);
    }

    /// Records an unset variable.
    pub(super) fn note_unset(&self, name: &str) {
        self.0.findings.borrow_mut().add_unset(name);
    }

    /// Records an unset variable of a secret, which is no problem here.
    pub(super) fn note_unset_secret(&self, name: &str) {
        self.0.findings.borrow_mut().add_unset_secret(name);
    }

    /// Whether a secret may be unset.
    pub(super) fn may_lack_secrets(&self) -> bool {
        self.0.may_lack_secrets
    }

    /// All secrets that were read so far.
    pub fn secrets(&self) -> Vec<SecretString> {
        self.0.findings.borrow().secrets()
    }

    /// Records that another file is read along with this one.
    pub(super) fn reads(&self, path: PathBuf) {
        self.0.findings.borrow_mut().add_file(path);
    }

    /// Masks a part of the file wherever its lines are shown, unless it contains only variable names.
    pub(super) fn mask(&self, at: Span) {
        self.0.findings.borrow_mut().mask(at);
    }

    /// Records a problem or a warning. The position `0..0` means the whole file.
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

    /// The number of problems so far that make the file unusable.
    pub(super) fn errors(&self) -> usize {
        self.0.findings.borrow().errors()
    }

    /// All problems so far, in the file's order. Sections that still exist have not recorded their unknown keys
    /// yet.
    pub fn problems(&self) -> Problems {
        self.0.findings.borrow().problems(&self.0.source)
    }
}
