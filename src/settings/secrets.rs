//! The getters for secrets, which may be in separate files.

use secrecy::{ExposeSecret, SecretString};

use super::secret_form;
use super::section::{Section, mask};
use super::span::{Located, Span};
use super::tree::{Node, Scalar, Value};

/// A shorter webhook secret could be guessed.
const SHORTEST_WEBHOOK_SECRET: usize = 16;

/// The placeholder for an unset secret, if a file is read without its secrets. It is never sent. It has the format
/// of GitLab's signing tokens, the only format that is checked.
const STAND_IN: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

impl Section {
    /// A secret, from `key` or from the file that `<key>_file` names. An empty one counts as unset.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        let value = self.take_secret(key);
        match (value, self.secret_files(key)) {
            (None, files) => {
                if files.len() > 1
                    && let Some(at) = self.place_of(&format!("{key}_file"))
                {
                    self.problem(at, format!("`{key}_file` takes one path"), None);
                }
                files.into_iter().next().map(|file| file.value)
            }
            (Some(node), files) => {
                self.note_both(key, &node, &files);
                let (scalar, at) = self.scalar(key, node)?;
                if scalar.text.trim().is_empty() {
                    self.problem(at, format!("`{key}` is blank"), None);
                    return None;
                }
                Some(self.noted(scalar.text, at, &format!("`{key}`")))
            }
        }
    }

    /// A required secret. `variables` are the vendor's own environment variables, which are tried in this order if
    /// the file has none.
    pub fn required_secret(&mut self, key: &str, variables: &[&str]) -> Option<SecretString> {
        let errors = self.file.errors();
        if let Some(secret) = self.secret(key) {
            return Some(secret);
        }
        if self.file.errors() > errors {
            return None;
        }
        let found = variables
            .iter()
            .find_map(|name| Some((name, self.env(name)?)));
        if let Some((name, value)) = found {
            let what = format!("the environment variable {name}");
            return Some(self.noted(value, self.at(), &what));
        }
        if let Some(name) = variables.first()
            && self.file.may_lack_secrets()
        {
            return Some(self.stand_in(name));
        }
        let advice = match variables {
            [] => format!("give `{key}`, or `{key}_file: path`"),
            [name, ..] => format!("give `{key}`, `{key}_file: path`, or set {name}"),
        };
        self.missing(key, Some(advice));
        None
    }

    /// A list of secrets. An empty one is a problem.
    pub fn secrets(&mut self, key: &str) -> Vec<SecretString> {
        let found = self.located_secrets(key);
        found.into_iter().map(|secret| secret.value).collect()
    }

    /// A list of webhook secrets. Records those that could be guessed.
    pub fn webhook_secrets(&mut self, key: &str) -> Vec<SecretString> {
        let found = self.located_secrets(key);
        for secret in &found {
            let text = secret.value.expose_secret();
            if text.chars().count() < SHORTEST_WEBHOOK_SECRET && secret_form::oddity(text).is_none()
            {
                self.warning(
                    secret.at.clone(),
                    format!("the webhook's secret is shorter than {SHORTEST_WEBHOOK_SECRET} characters, and could be guessed"),
                    Some("make one with `openssl rand -hex 32`, and set it on the webhook's page as well".to_owned()),
                );
            }
        }
        found.into_iter().map(|secret| secret.value).collect()
    }

    fn located_secrets(&mut self, key: &str) -> Vec<Located<SecretString>> {
        let value = self.take_secret(key);
        let files = self.secret_files(key);
        let Some(node) = value else {
            return files;
        };
        self.note_both(key, &node, &files);
        let items = match node.value {
            Value::List(items) => items,
            Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken | Value::Unset(_) => {
                vec![node]
            }
        };
        items
            .into_iter()
            .filter_map(|item| {
                let at = item.at.clone();
                let text = self.item(key, item)?.value;
                if text.trim().is_empty() {
                    self.problem(at, format!("an item of `{key}` is blank"), None);
                    return None;
                }
                let value = self.noted(text, at.clone(), &format!("an item of `{key}`"));
                Some(Located { value, at })
            })
            .collect()
    }

    /// A secret from the environment, for keys that fall back to a vendor's own variable. An empty one counts as unset.
    pub fn env_secret(&self, name: &str) -> Option<SecretString> {
        let value = self.env(name)?;
        let what = format!("the environment variable {name}");
        Some(self.noted(value, self.at(), &what))
    }

    /// Whether a secret of this section is not set and a placeholder is used.
    pub fn lacks_secrets(&self) -> bool {
        self.lacks_secrets
    }

    /// Treats a value with unset variables as missing, if secrets may be unset.
    pub fn allow_unset(&mut self, key: &str) {
        let entry = self.entries.iter_mut().find(|entry| entry.key.value == key);
        if let Some(entry) = entry
            && let Value::Unset(variables) = &entry.value.value
        {
            for variable in variables {
                self.file.note_unset_secret(&variable.value);
            }
            entry.value.value = Value::Null;
        }
    }

    /// Records a secret and returns it. Also records it if it is odd.
    fn noted(&self, text: String, at: Span, what: &str) -> SecretString {
        let secret = SecretString::from(text);
        if secret.expose_secret() == STAND_IN {
            return secret;
        }
        if let Some(odd) = secret_form::oddity(secret.expose_secret()) {
            self.warn(
                at,
                format!("{what} {}", odd.what),
                Some(odd.advice.to_owned()),
            );
        }
        self.file.note_secret(&secret);
        secret
    }

    fn stand_in(&mut self, variable: &str) -> SecretString {
        self.file.note_unset_secret(variable);
        self.lacks_secrets = true;
        SecretString::from(STAND_IN)
    }

    fn take_secret(&mut self, key: &str) -> Option<Node> {
        self.secret.push(key.to_owned());
        let mut node = self.take_raw(key)?;
        self.put_stand_ins(&mut node);
        mask(&self.file, &node);
        Some(node)
    }

    /// Inserts placeholders for secrets whose variables are not set.
    fn put_stand_ins(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::List(items) => {
                for item in items {
                    self.put_stand_ins(item);
                }
            }
            Value::Unset(variables) => {
                for variable in variables {
                    self.file.note_unset_secret(&variable.value);
                }
                self.lacks_secrets = true;
                node.value = Value::Scalar(Scalar {
                    text: STAND_IN.to_owned(),
                    shown: String::new(),
                });
            }
            Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken => {}
        }
    }

    fn note_both(&mut self, key: &str, value: &Node, files: &[Located<SecretString>]) {
        if !files.is_empty() {
            self.problem(
                value.at.clone(),
                format!("both `{key}` and `{key}_file` are given"),
                Some("keep one of them".to_owned()),
            );
        }
    }

    /// The secrets in the files that `<key>_file` names, each without one line break at its end.
    fn secret_files(&mut self, key: &str) -> Vec<Located<SecretString>> {
        let key = format!("{key}_file");
        let mut secrets = Vec::new();
        for path in self.texts(&key) {
            let full = self.file.source().directory().join(&path.value);
            self.file.reads(full.clone());
            let at = path.at.clone();
            match std::fs::read_to_string(&full) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    let text = text.strip_suffix('\r').unwrap_or(text);
                    if text.trim().is_empty() {
                        let message = format!("the secret file `{}` is empty", full.display());
                        self.problem(path.at, message, None);
                    } else {
                        self.file.keep_confidential(text, "the secret");
                        let what = format!("the secret in `{}`", full.display());
                        let value = self.noted(text.to_owned(), at.clone(), &what);
                        secrets.push(Located { value, at });
                    }
                }
                Err(error) => {
                    let message =
                        format!("cannot read the secret file `{}`: {error}", full.display());
                    let advice = "the path is relative to the rules file's directory".to_owned();
                    if self.file.may_lack_secrets() {
                        self.warning(path.at, message, Some(advice));
                        self.lacks_secrets = true;
                        let value = SecretString::from(STAND_IN);
                        secrets.push(Located { value, at });
                    } else {
                        self.problem(path.at, message, Some(advice));
                    }
                }
            }
        }
        secrets
    }
}
