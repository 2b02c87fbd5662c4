//! A YAML file as located values, and the reader that collects every problem in it.
//!
//! A [`Section`] is a mapping of the file. Each getter takes a key, notes a
//! problem (with line and column) if the value is not what it should be, and
//! returns nothing then; reading goes on, so that all problems are shown at
//! once. Keys that nobody asked for are noted when the section is dropped.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

/// A place in the file, as bytes.
pub type Span = Range<usize>;

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Span,
}

/// A mapping of the file that is being read.
pub struct Section {}

impl Section {
    /// A scalar as text.
    pub fn text(&mut self, _key: &str) -> Option<Located<String>> {
        todo!()
    }
    /// A scalar that must be there and not be empty.
    pub fn required_text(&mut self, _key: &str) -> Option<Located<String>> {
        todo!()
    }
    /// A list of scalars; one scalar alone is a list of one.
    pub fn texts(&mut self, _key: &str) -> Vec<Located<String>> {
        todo!()
    }
    /// A secret: under `key`, or in the file that `<key>_file` names. An empty one counts as unset.
    pub fn secret(&mut self, _key: &str) -> Option<SecretString> {
        todo!()
    }
    /// A list of secrets. An empty one is a problem.
    pub fn secrets(&mut self, _key: &str) -> Vec<SecretString> {
        todo!()
    }
    /// The environment's value, for keys that fall back to a vendor's own variable.
    pub fn env(&self, _name: &str) -> Option<String> {
        todo!()
    }
    /// An absolute http or https URL without query, fragment or credentials.
    pub fn url(&mut self, _key: &str) -> Option<Located<Url>> {
        todo!()
    }
    /// One of the given words.
    pub fn word(&mut self, _key: &str, _allowed: &[&str]) -> Option<Located<String>> {
        todo!()
    }
    /// A whole number in a range.
    pub fn number(&mut self, _key: &str, _range: RangeInclusive<u64>) -> Option<Located<u64>> {
        todo!()
    }
    /// `true` or `false`.
    pub fn flag(&mut self, _key: &str) -> Option<Located<bool>> {
        todo!()
    }
    /// A time span such as `10m` or `1h 30m`.
    pub fn duration(&mut self, _key: &str) -> Option<Located<Duration>> {
        todo!()
    }
    /// A nested mapping.
    pub fn section(&mut self, _key: &str) -> Option<Section> {
        todo!()
    }
    /// A list of mappings.
    pub fn sections(&mut self, _key: &str) -> Vec<Section> {
        todo!()
    }
    /// The mappings in this mapping, by their keys.
    pub fn entries(&mut self) -> Vec<(Located<String>, Section)> {
        todo!()
    }
    /// Where the section itself stands (its key, or its first line).
    pub fn at(&self) -> Span {
        todo!()
    }
    /// Notes a problem at a place, with advice where there is some.
    pub fn problem(&mut self, _at: Span, _message: impl Into<String>, _advice: Option<String>) {
        todo!()
    }
    /// Notes something that is allowed but probably not meant.
    pub fn warning(&mut self, _at: Span, _message: impl Into<String>, _advice: Option<String>) {
        todo!()
    }
}
