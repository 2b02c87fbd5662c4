//! Reads lists of globs, such as a rule's `match:` and a site's `ignore:`.

use super::glob_lints;
use crate::rules::Glob;
use crate::settings::{Located, Section};

/// Reads the globs under a key. Invalid ones are recorded and skipped.
pub(super) fn globs(section: &mut Section, key: &str) -> Vec<Glob> {
    section
        .texts(key)
        .iter()
        .filter_map(|text| glob(section, key, text))
        .collect()
}

/// Reads one glob over paths. Records it if it is invalid or odd.
fn glob(section: &mut Section, key: &str, text: &Located<String>) -> Option<Glob> {
    if key != "match" && text.value.starts_with('!') {
        section.problem(
            text.at.clone(),
            format!(
                "the glob `{}` starts with `!`, which takes nothing back here",
                text.value.escape_debug()
            ),
            Some(format!(
                "list under `{key}:` only what is meant, without what is to stay"
            )),
        );
        return None;
    }
    match Glob::parse(&text.value) {
        Ok(glob) => {
            if let Some(odd) = glob_lints::oddity(&text.value) {
                section.warning(text.at.clone(), odd.message, Some(odd.advice));
            }
            Some(glob)
        }
        Err(error) => {
            section.problem(text.at.clone(), error.message, error.advice);
            None
        }
    }
}
