//! Guesses which parts of a text may be secrets if it is not valid YAML, so that keys and values cannot be
//! distinguished.

use super::span::Span;

/// Words in the keys of secrets.
const WORDS: [&str; 4] = ["secret", "token", "password", "key"];

/// Whether a key's name sounds like that of a secret.
pub(super) fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// The positions of all words after what looks like the key of a secret, in its line and in those that continue it,
/// and of addresses with credentials. Better too many than too few: this only decides what is shown.
pub(super) fn places(text: &str) -> Vec<Span> {
    let mut places = Vec::new();
    // The indentation of the key whose value may continue.
    let mut open: Option<usize> = None;
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let words = words(line);
        let has_key = words.iter().any(|word| line[word.clone()].ends_with(':'));
        // A line without a key continues the value before it, whatever its indentation.
        if open.is_some_and(|key| has_key && indent <= key) {
            open = None;
        }
        for word in words {
            let written = &line[word.clone()];
            let colon = written.find(':');
            let mut secret = (open.is_some() && !written.ends_with(':'))
                .then(|| word.clone())
                .or_else(|| {
                    let address = written.contains("://") && written.contains('@');
                    address.then(|| word.clone())
                });
            let key = colon.map_or(written, |colon| &written[..colon]);
            let quoted_key = line[word.end..].trim_start_matches(['"', '\'']);
            let is_key = colon.is_some() || quoted_key.starts_with(':');
            if is_key && names_a_secret(key) {
                open.get_or_insert(indent);
                secret = colon
                    .map(|colon| word.start + colon + 1..word.end)
                    .filter(|value| !value.is_empty());
            }
            places.extend(secret.map(|at| line_start + at.start..line_start + at.end));
        }
        line_start += line.len();
    }
    places
}

/// The words of a line, without YAML punctuation around them. `${NAME}` is one word.
fn words(line: &str) -> Vec<Span> {
    let mut words: Vec<Span> = Vec::new();
    let mut start = None;
    let mut variable = false;
    for (at, c) in line.char_indices() {
        if line[at..].starts_with("${") {
            variable = true;
            start = start.or(Some(at));
        }
        let ends = c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '}' | '[' | ']' | ',');
        if variable && !c.is_whitespace() {
            variable = c != '}';
            continue;
        }
        if ends {
            words.extend(start.take().map(|start| start..at));
            variable = false;
        } else {
            start = start.or(Some(at));
        }
    }
    words.extend(start.map(|start| start..line.len()));
    words
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn what_follows_the_key_of_a_secret_is_one_up_to_the_next_key_beside_it() {
        for (text, expected) in [
            ("token: abc\nrepo: x\n", &["abc"][..]),
            ("token:abc\nrepo: x\n", &["abc"]),
            ("\"token\": abc", &["abc"]),
            (
                "{kind: a, secrets: [\"b c\", d}, token: e",
                &["b", "c", "d", "e"],
            ),
            (
                "a:\n  secrets:\n  - b\n  - c\n  repo: x\n",
                &["-", "b", "-", "c"],
            ),
            (
                "private_key: |\nMIIE+/=\n  x\nrepo: y",
                &["|", "MIIE+/=", "x"],
            ),
            ("token: \"${NAME:-abc}\"\n", &["${NAME:-abc}"]),
            (
                "database: postgres://me:pw@host/x",
                &["postgres://me:pw@host/x"],
            ),
            ("repo: github:acme/website", &[]),
        ] {
            let found: Vec<&str> = places(text).into_iter().map(|at| &text[at]).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
