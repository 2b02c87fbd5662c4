//! Findings while reading a settings file: problems, secrets, and text that no message may show.

use std::collections::BTreeSet;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::problem::{Problem, Problems, Severity};
use super::source::Source;
use super::span::Span;
use super::substitution::{Piece, pieces};

/// Bytes from which on a value from the environment is taken out of messages
/// wherever it turns up; a shorter one (`80`, `main`) only where it is quoted.
const TELLING_LENGTH: usize = 8;

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    /// Variables that the file names and the environment does not set.
    unset: Vec<String>,
    /// Those of secrets, where that is no problem.
    unset_secrets: Vec<String>,
    /// Files that were read besides this one.
    files: BTreeSet<PathBuf>,
    /// Values that no message may show, and what it shows in their place.
    confidential: Vec<(String, String)>,
    /// Places that hold a secret, and are masked where the file's lines are shown.
    masked: Vec<Span>,
    /// Every secret that was read.
    secrets: Vec<SecretString>,
}

impl Findings {
    /// Notes a problem once, also where an anchor is read for each of its aliases.
    pub fn add(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Notes a variable that is not set.
    pub fn add_unset(&mut self, name: &str) {
        if !self.unset.iter().any(|n| n == name) {
            self.unset.push(name.to_owned());
        }
    }

    /// Notes a variable of a secret that is not set, where that is no problem.
    pub fn add_unset_secret(&mut self, name: &str) {
        if !self.unset_secrets.iter().any(|n| n == name) {
            self.unset_secrets.push(name.to_owned());
        }
    }

    /// Notes that a file is read along with this one.
    pub fn add_file(&mut self, path: PathBuf) {
        self.files.insert(path);
    }

    /// Keeps a value out of all messages, as it is and as messages and URLs write it;
    /// `shown` stands in its place.
    pub fn keep_confidential(&mut self, value: &str, shown: &str) {
        let forms = [
            value.to_owned(),
            value.escape_debug().to_string(),
            value.to_ascii_lowercase(),
        ];
        for form in forms {
            if !form.is_empty() && !self.confidential.iter().any(|(v, _)| *v == form) {
                self.confidential.push((form, shown.to_owned()));
            }
        }
    }

    /// Notes a secret, wherever it came from.
    pub fn add_secret(&mut self, secret: &SecretString) {
        // Copied to a wrong place, it is no less a secret.
        if secret.expose_secret().len() >= TELLING_LENGTH {
            self.keep_confidential(secret.expose_secret(), "a secret");
        }
        self.secrets.push(secret.clone());
    }

    /// Every secret that was read so far.
    pub fn secrets(&self) -> Vec<SecretString> {
        self.secrets.clone()
    }

    /// Masks what stands at a place where the file's lines are shown, unless it only names variables.
    pub fn mask(&mut self, at: Span) {
        self.masked.push(at);
    }

    /// How many problems that make the file unusable were noted.
    pub fn errors(&self) -> usize {
        let errors = self.problems.iter();
        errors.filter(|p| p.severity == Severity::Error).count()
    }

    /// Every problem in the file's order, without what no message may show.
    pub fn problems(&self, source: &Source) -> Problems {
        let mut list = self.problems.clone();
        for problem in &mut list {
            problem.message = self.without_confidential(&problem.message);
            let advice = problem.advice.as_deref();
            problem.advice = advice.map(|advice| self.without_confidential(advice));
        }
        list.sort_by_key(|p| (p.line, p.column, p.severity));
        let own_file = [PathBuf::from(&source.name)];
        let files: BTreeSet<PathBuf> = own_file.into_iter().chain(self.files.clone()).collect();
        let secrets = [self.masked.clone(), self.places_of_secrets(source)].concat();
        Problems {
            file: source.name.clone(),
            list,
            unset: self.unset.clone().into(),
            unset_secrets: self.unset_secrets.clone().into(),
            files: files.into_iter().collect(),
            text: masked(&source.text, &secrets).into(),
        }
    }

    /// Where known secrets are written out in the file, wherever that is.
    fn places_of_secrets(&self, source: &Source) -> Vec<Span> {
        self.secrets
            .iter()
            .map(|secret| secret.expose_secret().trim())
            .filter(|secret| secret.len() >= TELLING_LENGTH)
            .flat_map(|secret| {
                // As it is, and as it stands between double quotes.
                let quoted = serde_json::Value::from(secret).to_string();
                let quoted = quoted[1..quoted.len() - 1].to_owned();
                [source.places_of(secret), source.places_of(&quoted)].concat()
            })
            .collect()
    }

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
