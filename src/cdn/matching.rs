//! Matches the entries of a CDN's log with a batch's targets.
//!
//! A log may spell a URL differently from the request: the host in another case, `%7E` for `~`, Chinese characters
//! unencoded. Ids may be text or numbers.

use std::collections::{HashMap, HashSet};

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use url::Url;

use super::{Report, TargetState};
use crate::sanitize::one_line;

/// The targets of one batch, indexed by the spellings that a log may use.
pub struct Targets<'b> {
    exact: HashSet<&'b str>,
    /// Targets by [`key`]; none if several targets share a key, which is then ambiguous.
    by_key: HashMap<String, Option<&'b str>>,
}

impl<'b> Targets<'b> {
    /// Indexes these targets.
    pub fn new(targets: &'b [String]) -> Self {
        let mut by_key = HashMap::new();
        for target in targets {
            by_key
                .entry(key(target))
                .and_modify(|several| *several = None)
                .or_insert(Some(target.as_str()));
        }
        Self {
            exact: targets.iter().map(String::as_str).collect(),
            by_key,
        }
    }

    /// The target that a log's URL stands for, if it is one of these.
    pub fn find(&self, logged: &str) -> Option<&'b str> {
        match self.exact.get(logged) {
            Some(target) => Some(target),
            None => self.by_key.get(&key(logged)).copied().flatten(),
        }
    }

    /// Whether every target is among the logged URLs.
    pub fn all_in<'l>(&self, logged: impl Iterator<Item = &'l str>) -> bool {
        let found: HashSet<&str> = logged.filter_map(|url| self.find(url)).collect();
        found.len() == self.exact.len()
    }
}

/// The maximum length of a task's id. Documented ids are numbers, or at most a UUID.
const LONGEST_ID: usize = 128;

impl AnyId {
    /// The task's id, if it is a valid one: only letters, digits, `-`, `_` and `.`, since it is stored, shown and
    /// put into URLs. A server must not decide with it what is requested next.
    pub fn task(&self) -> Option<&str> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let id = self.0.as_str();
        let is_id = (1..=LONGEST_ID).contains(&id.len())
            && id.bytes().all(fits)
            && id.bytes().any(|byte| byte.is_ascii_alphanumeric());
        is_id.then_some(id)
    }
}

/// Records the state of a target. A log has one entry per area, so a target is done only when all of its entries
/// are, and has failed only when none is running.
pub fn note(report: &mut Report, target: &str, state: TargetState) {
    let state = match state {
        TargetState::Failed(why) => TargetState::Failed(one_line(&why)),
        TargetState::Invalid(why) => TargetState::Invalid(one_line(&why)),
        TargetState::Unknown(word) => TargetState::Unknown(one_line(&word)),
        TargetState::Running(_) | TargetState::Done => state,
    };
    match report.targets.get_mut(target) {
        Some(known) if weight(known) >= weight(&state) => {}
        Some(known) => *known = state,
        None => {
            report.targets.insert(target.to_owned(), state);
        }
    }
}

fn weight(state: &TargetState) -> u8 {
    match state {
        TargetState::Done => 0,
        TargetState::Invalid(_) => 1,
        TargetState::Failed(_) => 2,
        TargetState::Running(_) => 3,
        TargetState::Unknown(_) => 4,
    }
}

/// A canonical spelling of a URL: scheme and host in lower case, no default port, every byte that needs no encoding
/// unencoded and every other one encoded. Reserved characters stay as they are: `%2F` and `/` are different.
fn key(url: &str) -> String {
    let Ok(parsed) = Url::parse(url) else {
        return url.to_owned();
    };
    let mut key = format!(
        "{}://{}",
        parsed.scheme(),
        parsed.host_str().unwrap_or_default()
    );
    if let Some(port) = parsed.port() {
        key.push_str(&format!(":{port}"));
    }
    push_spelled_alike(&mut key, parsed.path());
    if let Some(query) = parsed.query() {
        key.push('?');
        push_spelled_alike(&mut key, query);
    }
    key
}

fn push_spelled_alike(key: &mut String, text: &str) {
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, encoded, after) = match encoded_byte(rest) {
            Some(byte) => (byte, true, rest.get(3..).unwrap_or_default()),
            None => (byte, false, after),
        };
        let bare = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if bare || (byte.is_ascii_graphic() && !encoded) {
            key.push(char::from(byte));
        } else {
            key.push_str(&format!("%{byte:02X}"));
        }
        rest = after;
    }
}

fn encoded_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// An id that one document defines as text and another as a number, often beyond 2^53; stored as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnyId(pub String);

impl<'de> Deserialize<'de> for AnyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyIdVisitor;
        impl Visitor<'_> for AnyIdVisitor {
            type Value = AnyId;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text or a whole number")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<AnyId, E> {
                Ok(AnyId(text.to_owned()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<AnyId, E> {
                Ok(AnyId(number.to_string()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<AnyId, E> {
                Ok(AnyId(number.to_string()))
            }
        }
        deserializer.deserialize_any(AnyIdVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_url_is_found_however_the_log_spells_it() {
        let handed_over = texts(&[
            "https://www.example.com/%E9%A6%96%E9%A1%B5~1.png?a=%2F",
            "http://www.example.com/",
        ]);
        let targets = Targets::new(&handed_over);

        for logged in [
            "https://www.example.com/首页~1.png?a=%2F",
            "HTTPS://WWW.Example.com:443/%e9%a6%96%e9%a1%b5%7E1.png?a=%2f",
        ] {
            assert_eq!(
                targets.find(logged),
                Some(handed_over[0].as_str()),
                "{logged}"
            );
        }
        assert_eq!(
            targets.find("http://www.example.com"),
            Some("http://www.example.com/")
        );
    }

    #[test]
    fn two_urls_that_a_cache_tells_apart_are_told_apart() {
        let handed_over = texts(&["https://a.example/x%2Fy"]);
        let targets = Targets::new(&handed_over);

        assert_eq!(targets.find("https://a.example/x/y"), None);
        assert_eq!(targets.find("https://a.example/X%2Fy"), None);
        assert_eq!(targets.find("http://a.example/x%2Fy"), None);
    }

    #[test]
    fn a_spelling_that_fits_two_targets_means_neither() {
        let handed_over = texts(&["https://a.example/~x", "https://a.example/%7Ex"]);
        let targets = Targets::new(&handed_over);

        assert_eq!(
            targets.find("https://a.example/~x"),
            Some("https://a.example/~x")
        );
        assert_eq!(targets.find("https://A.example/~x"), None);
    }

    #[test]
    fn an_id_that_could_lead_elsewhere_is_none() {
        let task = |id: &str| AnyId(id.to_owned()).task().map(str::to_owned);

        for good in ["1538366", "0f3a-41.b_2", "7"] {
            assert_eq!(task(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "..",
            "../quota",
            "1,2",
            "1?x=2",
            "1 2",
            "1\u{1b}[2J",
            "é",
        ] {
            assert_eq!(task(bad), None, "{bad:?}");
        }
        assert_eq!(task(&"1".repeat(LONGEST_ID + 1)), None);
    }

    #[test]
    fn a_target_is_done_only_when_every_entry_is() {
        let mut report = Report::default();
        let target = "https://a.example/";

        note(&mut report, target, TargetState::Done);
        note(&mut report, target, TargetState::Running(Some(40)));
        note(&mut report, target, TargetState::Done);

        assert_eq!(report.targets[target], TargetState::Running(Some(40)));
    }
}
