//! Findings while reading a settings file: problems, secrets, and text that no message may show.

use std::collections::BTreeSet;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::problem::{Problem, Problems, Severity};
use super::source::Source;
use super::span::Span;
use super::substitution::{Piece, pieces};

/// A value from the environment of at least this many bytes is hidden wherever it occurs in a message; a shorter
/// one (`80`, `main`) only if it is quoted.
const TELLING_LENGTH: usize = 8;

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    /// Variables that the file names and that are not set.
    unset: Vec<String>,
    /// Unset variables of secrets, if that is no problem.
    unset_secrets: Vec<String>,
    /// Other files that were read.
    files: BTreeSet<PathBuf>,
    /// Values to hide in messages, and their replacements.
    confidential: Vec<(String, String)>,
    /// Positions of secrets, which are masked wherever the file's lines are shown.
    masked: Vec<Span>,
    /// All secrets that were read.
    secrets: Vec<SecretString>,
}

impl Findings {
    /// Records a problem once, even if an anchor is read for each of its aliases.
    pub fn add(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Records an unset variable.
    pub fn add_unset(&mut self, name: &str) {
        if !self.unset.iter().any(|n| n == name) {
            self.unset.push(name.to_owned());
        }
    }

    /// Records an unset variable of a secret, if that is no problem.
    pub fn add_unset_secret(&mut self, name: &str) {
        if !self.unset_secrets.iter().any(|n| n == name) {
            self.unset_secrets.push(name.to_owned());
        }
    }

    /// Records that another file is read along with this one.
    pub fn add_file(&mut self, path: PathBuf) {
        self.files.insert(path);
    }

    /// Hides a value in all messages, as it is and as messages and URLs encode it, which show `shown` instead.
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

    /// Records a secret, from any source.
    pub fn add_secret(&mut self, secret: &SecretString) {
        // A copy in a wrong place is just as secret.
        if secret.expose_secret().len() >= TELLING_LENGTH {
            self.keep_confidential(secret.expose_secret(), "a secret");
        }
        self.secrets.push(secret.clone());
    }

    /// All secrets that were read so far.
    pub fn secrets(&self) -> Vec<SecretString> {
        self.secrets.clone()
    }

    /// Masks a part of the file wherever its lines are shown, unless it contains only variable names.
    pub fn mask(&mut self, at: Span) {
        self.masked.push(at);
    }

    /// The number of problems so far that make the file unusable.
    pub fn errors(&self) -> usize {
        let errors = self.problems.iter();
        errors.filter(|p| p.severity == Severity::Error).count()
    }

    /// All problems in the file's order, without the hidden values.
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

    /// The positions of known secrets anywhere in the file.
    fn places_of_secrets(&self, source: &Source) -> Vec<Span> {
        self.secrets
            .iter()
            .map(|secret| secret.expose_secret().trim())
            .filter(|secret| secret.len() >= TELLING_LENGTH)
            .flat_map(|secret| {
                // As it is, and as in double quotes.
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

/// The text with `*` for each byte of the secrets in it, which keeps all positions.
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
