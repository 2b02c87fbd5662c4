//! The getters for secrets, which may stand in files of their own.

use secrecy::SecretString;

use super::section::{Section, mask};
use super::tree::{Node, Value};

impl Section {
    /// A secret: under `key`, or in the file that `<key>_file` names. An empty one counts as unset.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        let value = self.take_secret(key);
        match (value, self.secret_files(key)) {
            (None, files) => {
                if files.len() > 1
                    && let Some(at) = self.place_of(&format!("{key}_file"))
                {
                    self.problem(at, format!("`{key}_file` takes one path"), None);
                }
                files.into_iter().next()
            }
            (Some(node), files) => {
                self.note_both(key, &node, &files);
                let (scalar, at) = self.scalar(key, node)?;
                if scalar.text.trim().is_empty() {
                    self.problem(at, format!("`{key}` is blank"), None);
                    return None;
                }
                Some(self.noted(scalar.text))
            }
        }
    }

    /// A secret that must be there. `variables` are the vendor's own names for
    /// it in the environment, asked in this order where the file is silent.
    pub fn required_secret(&mut self, key: &str, variables: &[&str]) -> Option<SecretString> {
        let errors = self.file.errors();
        if let Some(secret) = self.secret(key) {
            return Some(secret);
        }
        if self.file.errors() > errors {
            return None;
        }
        if let Some(value) = variables.iter().find_map(|name| self.env(name)) {
            return Some(self.noted(value));
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
        let value = self.take_secret(key);
        let files = self.secret_files(key);
        let Some(node) = value else {
            return files;
        };
        self.note_both(key, &node, &files);
        let items = match node.value {
            Value::List(items) => items,
            Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken => vec![node],
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
                Some(self.noted(text))
            })
            .collect()
    }

    /// The environment's value of a secret, for keys that fall back to a vendor's own variable. An empty one counts as unset.
    pub fn env_secret(&self, name: &str) -> Option<SecretString> {
        self.env(name).map(|value| self.noted(value))
    }

    /// A secret, of which the file keeps a note.
    fn noted(&self, text: String) -> SecretString {
        let secret = SecretString::from(text);
        self.file.note_secret(&secret);
        secret
    }

    fn take_secret(&mut self, key: &str) -> Option<Node> {
        self.secret.push(key.to_owned());
        let node = self.take(key)?;
        mask(&self.file, &node);
        Some(node)
    }

    fn note_both(&mut self, key: &str, value: &Node, files: &[SecretString]) {
        if !files.is_empty() {
            self.problem(
                value.at.clone(),
                format!("both `{key}` and `{key}_file` are given"),
                Some("keep one of them".to_owned()),
            );
        }
    }

    /// The secrets in the files that `<key>_file` names, less one line break at the end of each.
    fn secret_files(&mut self, key: &str) -> Vec<SecretString> {
        let key = format!("{key}_file");
        let mut secrets = Vec::new();
        for path in self.texts(&key) {
            let full = self.file.source().directory().join(&path.value);
            self.file.reads(full.clone());
            match std::fs::read_to_string(&full) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    let text = text.strip_suffix('\r').unwrap_or(text);
                    if text.trim().is_empty() {
                        let message = format!("the secret file `{}` is empty", full.display());
                        self.problem(path.at, message, None);
                    } else {
                        self.file.keep_confidential(text, "the secret");
                        secrets.push(self.noted(text.to_owned()));
                    }
                }
                Err(error) => {
                    let message =
                        format!("cannot read the secret file `{}`: {error}", full.display());
                    let advice = "the path is relative to the rules file's directory";
                    self.problem(path.at, message, Some(advice.to_owned()));
                }
            }
        }
        secrets
    }
}
