//! Regular expressions over paths, whose named groups become fields of templates.

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::{Field, RuleError};

/// The maximum memory of a compiled expression in bytes, far more than one for paths needs.
const LARGEST: usize = 1 << 20;

/// Characters of an expression in a message.
const LONGEST_SHOWN: usize = 200;

/// A regular expression of the `regex` crate over whole repository paths. It matches anywhere in the path unless
/// `^` and `$` anchor it.
#[derive(Clone, Debug)]
pub struct PathRegex {
    compiled: Regex,
    groups: Vec<String>,
}

impl PathRegex {
    /// Parses an expression. A group may not have the name of a field.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let compiled = RegexBuilder::new(text)
            .size_limit(LARGEST)
            .build()
            .map_err(|error| RuleError::new(wrong(text, &error), ADVICE))?;
        let groups: Vec<String> = compiled
            .capture_names()
            .flatten()
            .map(str::to_owned)
            .collect();
        if let Some(field) = groups.iter().find_map(|group| group.parse::<Field>().ok()) {
            return Err(RuleError::new(
                format!(
                    "the group `{}` would hide the field {field}",
                    field.as_str()
                ),
                "give the group another name",
            ));
        }
        Ok(Self { compiled, groups })
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        self.compiled.as_str()
    }

    /// The names of its groups, in order.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether it matches a path.
    pub(super) fn is_match(&self, path: &[u8]) -> bool {
        self.compiled.is_match(path)
    }

    /// The values of its groups, if it matches a path.
    pub(super) fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        self.compiled.captures(path)
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

const ADVICE: &str = "write it as for Rust's `regex`, e.g. `^posts/(?<slug>[^/]+)\\.md$`";

/// The last line of the crate's error, which shows the expression with a caret before it.
fn wrong(text: &str, error: &regex::Error) -> String {
    let why = error.to_string();
    let why = why.lines().last().unwrap_or_default().trim();
    let why = why.strip_prefix("error: ").unwrap_or(why);
    let shown = match text.char_indices().nth(LONGEST_SHOWN) {
        Some((cut, _)) => format!("{}...", text[..cut].escape_debug()),
        None => text.escape_debug().to_string(),
    };
    format!("the expression `{shown}` is wrong: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_its_part_of_the_path() {
        let regex = PathRegex::parse(r"^content/(?<lang>[a-z]{2})/(?P<slug>.+)\.md$").unwrap();

        assert_eq!(regex.groups(), ["lang", "slug"]);
        let captures = regex.captures(b"content/zh/a/b.md").unwrap();
        assert_eq!(captures.name("lang").unwrap().as_bytes(), b"zh");
        assert_eq!(captures.name("slug").unwrap().as_bytes(), b"a/b");
        assert!(!regex.is_match(b"content/zhs/a.md"));
    }

    #[test]
    fn what_is_wrong_with_an_expression_is_said_in_one_line() {
        for (text, expected) in [
            ("a(b", "the expression `a(b` is wrong: unclosed group"),
            (
                "(?<path>.*)",
                "the group `path` would hide the field {path}",
            ),
            (r"(?<a>.)\k<a>", "is wrong: "),
            (r"\pL{1000}{1000}", "is wrong: "),
        ] {
            let error = PathRegex::parse(text).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error}");
            assert!(!error.message.contains('\n'), "{text}: {error}");
        }
    }
}
