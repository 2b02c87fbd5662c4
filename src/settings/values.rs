//! The getters that read a scalar as another type than text.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::SpanRelativeTo;
use url::Url;

use super::section::Section;
use super::span::Located;
use super::suggest::did_you_mean;

impl Section {
    /// An absolute http or https URL without query, fragment or credentials.
    pub fn url(&mut self, key: &str) -> Option<Located<Url>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        let wrong = match Url::parse(&scalar.text) {
            Err(error) => format!("is no URL: {error}"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                "must start with `https://` or `http://`".to_owned()
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                // A password in it must not appear in a log.
                self.file.mask(at.clone());
                self.problem(
                    at,
                    format!("`{key}` must not hold a user name or a password"),
                    None,
                );
                return None;
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "must not hold `?` or `#`".to_owned()
            }
            Ok(url) => return Some(Located { value: url, at }),
        };
        let shown = scalar.excerpt();
        self.problem(
            at,
            format!("`{key}` {wrong} (`{shown}`)"),
            Some("write an address such as `https://example.com`".to_owned()),
        );
        None
    }

    /// One of the given words.
    pub fn word(&mut self, key: &str, allowed: &[&str]) -> Option<Located<String>> {
        self.word_or_alias(key, allowed, &[])
    }

    /// One of the given words, or an alias, which is read as the word that it stands for.
    pub fn word_or_alias(
        &mut self,
        key: &str,
        allowed: &[&str],
        aliases: &[(&str, &str)],
    ) -> Option<Located<String>> {
        let node = self.take(key)?;
        let (mut scalar, at) = self.scalar(key, node)?;
        if let Some((_, word)) = aliases.iter().find(|(alias, _)| *alias == scalar.text) {
            scalar.text = (*word).to_owned();
        }
        if allowed.contains(&scalar.text.as_str()) {
            return Some(Located {
                value: scalar.text,
                at,
            });
        }
        let message = format!("`{key}` cannot be `{}`", scalar.excerpt());
        let advice = did_you_mean(&scalar.text, allowed.iter().copied(), "it takes");
        self.problem(at, message, Some(advice));
        None
    }

    /// A list of the given words, or a single one; without duplicates.
    pub fn words(&mut self, key: &str, allowed: &[&str]) -> Vec<Located<String>> {
        let mut words: Vec<Located<String>> = Vec::new();
        for word in self.texts(key) {
            let wrong = if !allowed.contains(&word.value.as_str()) {
                let advice = did_you_mean(&word.value, allowed.iter().copied(), "it takes");
                Some(("cannot hold", Some(advice)))
            } else if words.iter().any(|other| other.value == word.value) {
                Some(("twice holds", None))
            } else {
                None
            };
            match wrong {
                None => words.push(word),
                Some((wrong, advice)) => {
                    let message = format!("`{key}` {wrong} `{}`", word.value);
                    self.problem(word.at, message, advice);
                }
            }
        }
        words
    }

    /// A whole number in a range.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Located<u64>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        let digits = scalar.text.bytes().all(|b| b.is_ascii_digit());
        match scalar.text.parse::<u64>() {
            Ok(value) if digits && range.contains(&value) => Some(Located { value, at }),
            Ok(_) | Err(_) => {
                let (from, to) = (range.start(), range.end());
                let bounds = match *to {
                    u64::MAX => format!("of at least {from}"),
                    to => format!("from {from} to {to}"),
                };
                let shown = scalar.excerpt();
                let message = format!("`{key}` must be a whole number {bounds}, not `{shown}`");
                self.problem(at, message, None);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<Located<bool>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        match scalar.text.as_str() {
            "true" | "True" | "TRUE" => Some(Located { value: true, at }),
            "false" | "False" | "FALSE" => Some(Located { value: false, at }),
            other => {
                let advice = match other.to_ascii_lowercase().as_str() {
                    "yes" | "on" => Some("write `true`".to_owned()),
                    "no" | "off" => Some("write `false`".to_owned()),
                    _ => None,
                };
                let message = format!(
                    "`{key}` must be `true` or `false`, not `{}`",
                    scalar.excerpt()
                );
                self.problem(at, message, advice);
                None
            }
        }
    }

    /// A time span such as `10m` or `1h 30m`.
    pub fn duration(&mut self, key: &str) -> Option<Located<Duration>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        let span = scalar.text.trim().parse::<jiff::Span>().ok();
        let span = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        match span.and_then(|span| Duration::try_from(span).ok()) {
            Some(value) => Some(Located { value, at }),
            None => {
                let message = format!("`{key}` must be a time span, not `{}`", scalar.excerpt());
                let advice = "write a number and its unit, e.g. `30s`, `1h 30m` or `90d`";
                self.problem(at, message, Some(advice.to_owned()));
                None
            }
        }
    }
}
