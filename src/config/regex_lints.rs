//! Lints for regular expressions over paths: those that cannot match any path.

use crate::sanitize::visible;

/// What is odd about an expression, and a suggestion.
pub(super) fn oddity(regex: &str) -> Option<(String, &'static str)> {
    let odd = |what: &str, advice: &'static str| {
        Some((
            format!("the expression `{}` {what}", visible(regex)),
            advice,
        ))
    };
    if let Some(c) = regex.chars().find(|c| c.is_control()) {
        return odd(
            &format!("holds the control character `{}`", c.escape_debug()),
            "put it in single quotes: in double quotes, YAML reads `\\b` and others as such",
        );
    }
    if regex.len() > 1 && regex.starts_with('/') && regex.ends_with('/') {
        return odd(
            "stands between slashes, which are part of it",
            "write it without them",
        );
    }
    let start = regex
        .trim_start_matches("(?i)")
        .trim_start_matches(['^', '(']);
    let anchored = regex.trim_start_matches("(?i)").starts_with('^');
    let starts_so = |beginnings: &[&str]| beginnings.iter().any(|it| start.starts_with(it));
    if anchored && starts_so(&["/", "\\/", "\\./", "\\.\\/", "./", "~/", "\\.\\./", "../"]) {
        return odd(
            "matches no path: they start at the top of the repository, without `/` or `./`",
            "begin it with a directory's name, e.g. `^content/`",
        );
    }
    if regex.contains("\\\\") {
        return odd(
            "asks for a `\\`, which no path has between its directories",
            "write `/`",
        );
    }
    if regex.contains("/**")
        || regex.starts_with("**")
        || regex.contains("/*.") && !regex.contains("/*.*")
    {
        return odd(
            "looks like a glob, and is read as a regular expression",
            "write the glob under `match:`",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::oddity;

    #[test]
    fn expressions_that_no_path_can_match_are_warned_of() {
        for (regex, expected) in [
            ("\u{8}posts", "control character"),
            ("/^content/", "between slashes"),
            ("^/content/", "without `/`"),
            (r"^\./content/", "without `/`"),
            (r"(?i)^\/content", "without `/`"),
            (r"^content\\posts\\", r"asks for a `\`"),
            ("content/**", "looks like a glob"),
            ("content/*.md", "looks like a glob"),
        ] {
            let (message, _) = oddity(regex).unwrap_or_else(|| panic!("{regex}"));
            assert!(message.contains(expected), "{regex}: {message}");
        }
        for regex in [
            r"^posts/(?<slug>[^/]+)\.md$",
            "^content/(?<section>[^/]+)/",
            r"/index\.md$",
            r"^(?:.*/)?README\.md$",
            r"^_posts/(?:.+/)?(?<y>\d{4})-(?<t>[^/]+)\.\w+$",
            "(/index)?",
        ] {
            assert_eq!(oddity(regex), None, "{regex}");
        }
    }
}
