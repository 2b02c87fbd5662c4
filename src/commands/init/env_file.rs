//! The file of secrets that `init` writes: one `NAME=value` per line, which a shell, systemd and Docker can read.

use std::collections::BTreeMap;

use anyhow::anyhow;
use ring::rand::{SecureRandom, SystemRandom};

use super::answers::Answers;

/// The length of the webhook's secret in bytes: as much as HMAC-SHA256 can use.
const SECRET_BYTES: usize = 32;

/// The whole file, keeping the values of the file that it replaces.
pub fn text(answers: &Answers, secret: &str, before: &str) -> String {
    let before = values(before);
    let mut text = String::from(
        "# The secrets of purgehook's rules.yaml. Keep this file to yourself, and out of git.\n\
         # In a shell: set -a; . ./env; set +a\n",
    );
    for (place, entry) in answers.entries().into_iter().enumerate() {
        for (number, variable) in entry.variables.iter().enumerate() {
            // A forge's first variable is the webhook's secret.
            let made = if place == 0 && number == 0 {
                secret
            } else {
                ""
            };
            let value = before.get(variable.name).copied().unwrap_or(made);
            text.push_str(&format!(
                "\n# {}\n{}={value}\n",
                variable.what, variable.name
            ));
        }
    }
    text
}

/// The names of the variables without a value.
pub fn empty(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_suffix('='))
        .collect()
}

/// The values of an existing file, without empty ones.
fn values(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// A random secret. Uses the system's randomness, since the clock's is not secure.
///
/// # Errors
///
/// The system provides no randomness.
pub fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow!("the system gives no randomness for a secret"))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (secret().unwrap(), secret().unwrap());

        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }

    #[test]
    fn empty_values_are_named_and_set_ones_are_kept() {
        let text = "# a comment=\nA=\nB=x=y\n";

        assert_eq!(empty(text), ["A"]);
        assert_eq!(values(text), BTreeMap::from([("B", "x=y")]));
    }
}
