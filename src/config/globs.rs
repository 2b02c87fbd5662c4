//! Reads lists of globs, such as `match:` of a rule and `ignore:` of a site.

use crate::rules::Glob;
use crate::settings::{Located, Section};

/// Reads the globs under a key. One that cannot be read is noted and left out.
pub(super) fn globs(section: &mut Section, key: &str) -> Vec<Glob> {
    section
        .texts(key)
        .iter()
        .filter_map(|text| glob(section, text))
        .collect()
}

/// Reads one glob. One that cannot be read is noted.
pub(super) fn glob(section: &mut Section, text: &Located<String>) -> Option<Glob> {
    match Glob::parse(&text.value) {
        Ok(glob) => Some(glob),
        Err(error) => {
            section.problem(text.at.clone(), error.message, error.advice);
            None
        }
    }
}
