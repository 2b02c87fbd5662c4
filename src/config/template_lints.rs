//! Lints for templates in the syntax of another tool: valid URLs, but of pages that do not exist.

use std::sync::LazyLock;

use regex::Regex;

use crate::sanitize::visible;

/// Syntax of other tools: how it is recognised, its name, and the syntax to use here.
const FOREIGN: [(&str, &str, &str); 8] = [
    (
        r"\?$",
        "a `?` at its end, which is a URL of its own",
        "leave it out; no CDN here knows wildcards",
    ),
    (
        r"\{\{",
        "`{{`, which is a brace in the URL itself",
        "a field stands in single braces, e.g. `/{page}`",
    ),
    (
        r"/:[A-Za-z_]\w*",
        "a `:name`, which is taken letter for letter",
        "fields and groups of `match_regex` stand in braces, e.g. `/{year}/{title}/`",
    ),
    (
        r"\$(?:\d|[A-Za-z_]\w*)",
        "a `$`, which is taken letter for letter",
        "groups of `match_regex` have names and stand in braces, e.g. `/{slug}/`; `${NAME}` is read from the environment",
    ),
    (
        r"\(.*\)",
        "a regular expression's marks, which are taken letter for letter",
        REGEX,
    ),
    (
        r"/[^?]*[\^$](?:$|/)|/\^",
        "a regular expression's marks, which are taken letter for letter",
        REGEX,
    ),
    (
        r"\[[^\]]*\]|<[^>]*>",
        "brackets, which are taken letter for letter",
        "fields stand in braces, e.g. `/{path}`",
    ),
    (
        r"%[sd](?:\W|$)",
        "a `%s`, which is taken letter for letter",
        "fields stand in braces, e.g. `/{path}`",
    ),
];

const REGEX: &str = "a URL is purged as it is written: name the fields in braces, e.g. `/{page}`, or a directory under `directories:`";

#[expect(
    clippy::unwrap_used,
    reason = "the expressions are fixed, and the test uses each"
)]
static FOUND: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    FOREIGN
        .iter()
        .map(|(text, ..)| Regex::new(text).unwrap())
        .collect()
});

/// What is odd about a valid template, and a suggestion.
pub(super) fn oddity(template: &str) -> Option<(String, String)> {
    let shown = visible(template);
    let found = FOUND.iter().position(|regex| regex.is_match(template))?;
    let (_, what, advice) = FOREIGN.get(found)?;
    Some((
        format!("the template `{shown}` has {what}"),
        (*advice).to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_tools_fill_in_is_warned_of() {
        for template in [
            "/{{page}}",
            "/:year/:month/:title/",
            "/blog/:splat",
            "/$1",
            "/blog/$slug/",
            "/blog/(.+)",
            "/^blog/",
            "/blog/$",
            "/[slug]/",
            "/<page>/",
            "/page/?",
            "/[...path]",
        ] {
            assert!(oddity(template).is_some(), "{template}");
        }
        for template in [
            "/",
            "/{page}",
            "/{page|lang:zh,de}",
            "https://www.example.com:8443/{path}",
            "/a:b",
            "/search?q=1&p=$",
            "/%E4%B8%AD/",
            "/{path}?v=1",
            "/feed.xml",
        ] {
            assert_eq!(oddity(template), None, "{template}");
        }
    }
}
