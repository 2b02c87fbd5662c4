//! A settings file being read: its text, its environment, and the problems found so far.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use secrecy::{ExposeSecret, SecretString};

use super::problem::{Problem, Problems, Severity, line_and_column};
use super::section::Section;
use super::substitution::{Piece, pieces};
use super::suspects;
use super::tree::{self, Node, Scalar, Span, Value};

/// From this length on, a value from the environment is taken out of messages
/// wherever it turns up; a shorter one (`80`, `main`) only where it is quoted.
const TELLING_LENGTH: usize = 8;

type Lookup = dyn Fn(&str) -> Option<String>;

/// Where `${NAME}` is looked up.
#[derive(Clone)]
pub struct Environment(Rc<Lookup>);

impl Environment {
    /// The variables that the program was started with. One that is not UTF-8 counts as unset.
    pub fn of_process() -> Self {
        Self(Rc::new(|name| std::env::var(name).ok()))
    }

    /// These variables and no others.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables: HashMap<String, String> = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self(Rc::new(move |name| variables.get(name).cloned()))
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

/// A settings file being read.
#[derive(Clone)]
pub struct File(Rc<Inner>);

struct Inner {
    name: String,
    text: String,
    environment: Environment,
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    unset: Vec<String>,
    /// Files that were read besides this one.
    files: BTreeSet<PathBuf>,
    /// Values that no message may show, and what it shows in their place.
    confidential: Vec<(String, String)>,
    /// Places that hold a secret, and are masked where the file's lines are shown.
    masked: Vec<Span>,
    /// Every secret that was read.
    secrets: Vec<SecretString>,
}

impl File {
    /// Starts to read a file. `name` is its path, and what `<key>_file` paths are relative to.
    pub fn new(name: &str, text: &str, environment: Environment) -> Self {
        Self(Rc::new(Inner {
            name: name.to_owned(),
            text: text.to_owned(),
            environment,
            found: RefCell::default(),
        }))
    }

    /// The file's outermost mapping. None if it is not YAML or something else
    /// than a mapping, which is noted.
    pub fn root(&self) -> Option<Section> {
        let (root, flaws) = tree::parse(&self.0.text);
        for flaw in flaws {
            self.note(Severity::Error, flaw.at, flaw.message, flaw.advice);
        }
        let Some(mut root) = root else {
            for at in suspects::places(&self.0.text) {
                self.mask(at);
            }
            return None;
        };
        self.substitute(&mut root);
        match root.value {
            Value::Map(entries) => Some(Section::new(self.clone(), 0..0, String::new(), entries)),
            Value::Null => Some(Section::new(self.clone(), 0..0, String::new(), Vec::new())),
            Value::Broken => None,
            Value::Scalar(_) | Value::List(_) => {
                self.note(
                    Severity::Error,
                    // At its start, and not the file as a whole.
                    root.at.start..root.at.end.max(root.at.start + 1),
                    "the file must hold keys with values".to_owned(),
                    Some("start with `forges:`, `cdns:` and `sites:`".to_owned()),
                );
                None
            }
        }
    }

    /// Puts the environment's values into every scalar.
    fn substitute(&self, node: &mut Node) {
        match &mut node.value {
            Value::Null | Value::Broken => {}
            Value::List(items) => items.iter_mut().for_each(|item| self.substitute(item)),
            Value::Map(entries) => {
                for entry in entries {
                    if entry.key.value.contains("${") {
                        self.note(
                            Severity::Error,
                            entry.key.at.clone(),
                            "a key cannot come from the environment".to_owned(),
                            Some("write the key out; values may hold `${NAME}`".to_owned()),
                        );
                    }
                    self.substitute(&mut entry.value);
                }
            }
            Value::Scalar(scalar) => {
                if scalar.text.contains("${") {
                    match self.fill(&scalar.text, &node.at) {
                        // The getters take an empty value for one that is not there.
                        Some(text) => scalar.text = text,
                        None => node.value = Value::Broken,
                    }
                }
            }
        }
    }

    /// A text with its variables filled in. None if one cannot be, which is noted.
    fn fill(&self, text: &str, at: &Span) -> Option<String> {
        let mut filled = Some(String::new());
        let mut from = at.start;
        for piece in pieces(text) {
            let value = match piece {
                Piece::Text(text) => Some(text.to_owned()),
                Piece::Escape => Some("${".to_owned()),
                Piece::Variable {
                    source,
                    name,
                    default,
                } => {
                    let place = self.find(source, from, at);
                    from = place.end.min(at.end);
                    let value = self.0.environment.get(name);
                    if let Some(value) = &value {
                        self.keep_confidential(value, source);
                    }
                    match (value, default) {
                        (Some(value), None) => Some(value),
                        (Some(value), Some(_)) if !value.is_empty() => Some(value),
                        (_, Some(default)) => Some(default.to_owned()),
                        (None, None) => {
                            self.note_unset(name, place);
                            None
                        }
                    }
                }
                Piece::Malformed(source) => {
                    self.note(
                        Severity::Error,
                        self.find(source, from, at),
                        format!("`{source}` is no variable"),
                        Some(
                            "write `${NAME}` or `${NAME:-default}`, and `$${` for a literal `${`"
                                .to_owned(),
                        ),
                    );
                    None
                }
            };
            match (&mut filled, value) {
                (Some(filled), Some(value)) => filled.push_str(&value),
                (filled, _) => *filled = None,
            }
        }
        filled
    }

    fn note_unset(&self, name: &str, at: Span) {
        self.note(
            Severity::Error,
            at,
            format!("the environment variable `{name}` is not set"),
            Some(format!(
                "set {name}, or write `${{{name}:-default}}` if there is a good default"
            )),
        );
        let unset = &mut self.0.found.borrow_mut().unset;
        if !unset.iter().any(|n| n == name) {
            unset.push(name.to_owned());
        }
    }

    /// Where a part of a scalar stands in the file; all of the scalar where
    /// escapes or line breaks hide the part.
    fn find(&self, part: &str, from: usize, at: &Span) -> Span {
        self.0
            .text
            .get(from..at.end)
            .and_then(|text| text.find(part))
            .map_or_else(|| at.clone(), |i| from + i..from + i + part.len())
    }

    /// A variable's value, for keys that fall back to it. An empty one counts as unset.
    pub(super) fn env(&self, name: &str) -> Option<String> {
        let value = self.0.environment.get(name).filter(|v| !v.is_empty())?;
        self.keep_confidential(&value, &format!("${{{name}}}"));
        Some(value)
    }

    /// Sees to it that no message shows a value, neither as it is nor as
    /// messages and URLs write it; `shown` stands in its place.
    pub(super) fn keep_confidential(&self, value: &str, shown: &str) {
        let confidential = &mut self.0.found.borrow_mut().confidential;
        let forms = [
            value.to_owned(),
            value.escape_debug().to_string(),
            value.to_ascii_lowercase(),
        ];
        for form in forms {
            if !form.is_empty() && !confidential.iter().any(|(v, _)| *v == form) {
                confidential.push((form, shown.to_owned()));
            }
        }
    }

    /// Notes that a secret was read, wherever it came from.
    pub(super) fn note_secret(&self, secret: &SecretString) {
        // Copied to a wrong place, it is no less a secret.
        if secret.expose_secret().len() >= TELLING_LENGTH {
            self.keep_confidential(secret.expose_secret(), "a secret");
        }
        self.0.found.borrow_mut().secrets.push(secret.clone());
    }

    /// Where known secrets are written out in the file, wherever that is.
    fn places_of_secrets(&self, secrets: &[SecretString]) -> Vec<Span> {
        let places = |written: &str| -> Vec<Span> {
            let found = self.0.text.match_indices(written);
            found.map(|(at, part)| at..at + part.len()).collect()
        };
        secrets
            .iter()
            .map(|secret| secret.expose_secret().trim())
            .filter(|secret| secret.len() >= TELLING_LENGTH)
            .flat_map(|secret| {
                // As it is, and as it stands between double quotes.
                let quoted = serde_json::Value::from(secret).to_string();
                let quoted = quoted[1..quoted.len() - 1].to_owned();
                [places(secret), places(&quoted)].concat()
            })
            .collect()
    }

    /// Every secret that was read so far.
    pub fn secrets(&self) -> Vec<SecretString> {
        self.0.found.borrow().secrets.clone()
    }

    /// Notes that a file is read along with this one.
    pub(super) fn reads(&self, path: PathBuf) {
        self.0.found.borrow_mut().files.insert(path);
    }

    /// Masks what stands at a place where the file's lines are shown, unless it only names variables.
    pub(super) fn mask(&self, at: Span) {
        self.0.found.borrow_mut().masked.push(at);
    }

    /// What messages show of a scalar.
    pub(super) fn shown(scalar: &Scalar) -> String {
        const LONGEST: usize = 60;
        match scalar.shown.char_indices().nth(LONGEST) {
            Some((cut, _)) => format!("{}...", &scalar.shown[..cut]),
            None => scalar.shown.clone(),
        }
    }

    /// The directory that `<key>_file` paths are relative to.
    pub(super) fn directory(&self) -> PathBuf {
        Path::new(&self.0.name)
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default()
    }

    /// Notes a problem or a warning.
    pub(super) fn note(
        &self,
        severity: Severity,
        at: Span,
        message: String,
        advice: Option<String>,
    ) {
        let whole_file = at == (0..0);
        let at = self.clip(at);
        let (line, column) = line_and_column(&self.0.text, at.start);
        let problem = Problem {
            severity,
            line: (!whole_file).then_some(line),
            column: (!whole_file).then_some(column),
            message,
            advice,
            at,
        };
        let problems = &mut self.0.found.borrow_mut().problems;
        // What stands behind an anchor is read once for each alias.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// A place that lies in the file and does not cut a character.
    fn clip(&self, at: Span) -> Span {
        let text = &self.0.text;
        let floor = |i: usize| {
            (0..=i.min(text.len()))
                .rev()
                .find(|i| text.is_char_boundary(*i))
                .unwrap_or(0)
        };
        let start = floor(at.start);
        start..floor(at.end).max(start)
    }

    /// How many problems that make the file unusable were noted.
    pub(super) fn errors(&self) -> usize {
        self.0
            .found
            .borrow()
            .problems
            .iter()
            .filter(|p| p.severity == Severity::Error)
            .count()
    }

    /// All that was noted, in the file's order. Sections that are still alive
    /// have not noted their unknown keys yet.
    pub fn problems(&self) -> Problems {
        let found = self.0.found.borrow();
        let mut list = found.problems.clone();
        for problem in &mut list {
            problem.message = found.without_confidential(&problem.message);
            problem.advice = problem
                .advice
                .as_deref()
                .map(|advice| found.without_confidential(advice));
        }
        list.sort_by_key(|p| (p.line, p.column, p.severity));
        Problems {
            file: self.0.name.clone(),
            list,
            unset: found.unset.clone(),
            files: [PathBuf::from(&self.0.name)]
                .into_iter()
                .chain(found.files.iter().cloned())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            text: masked(
                &self.0.text,
                &[
                    found.masked.as_slice(),
                    &self.places_of_secrets(&found.secrets),
                ]
                .concat(),
            ),
        }
    }
}

impl Found {
    fn without_confidential(&self, message: &str) -> String {
        self.confidential
            .iter()
            .fold(message.to_owned(), |message, (value, shown)| {
                if value.len() >= TELLING_LENGTH {
                    message.replace(value.as_str(), shown)
                } else {
                    message.replace(&format!("`{value}`"), &format!("`{shown}`"))
                }
            })
    }
}

/// The text with `*` for each byte of the secrets written into it, so that places stay as they are.
fn masked(text: &str, places: &[Span]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for place in places {
        let Some(secret) = text.get(place.clone()) else {
            continue;
        };
        let written_out = pieces(secret).iter().any(
            |piece| matches!(piece, Piece::Text(t) if !t.trim_matches(['"', '\'']).is_empty()),
        );
        if written_out && let Some(bytes) = bytes.get_mut(place.clone()) {
            for byte in bytes.iter_mut().filter(|b| !matches!(b, b'\n' | b'\r')) {
                *byte = b'*';
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
