//! Lints for single globs over paths: those in the syntax of another tool or for another system.

use crate::rules::{Token, alternatives, tokens};
use crate::sanitize::visible;

/// What is odd about a glob, and a suggestion.
pub(super) struct Oddity {
    pub message: String,
    pub advice: String,
}

/// What is odd about a valid glob.
pub(super) fn oddity(glob: &str) -> Option<Oddity> {
    let shown = visible(glob).into_owned();
    let odd = |what: &str, advice: String| {
        Some(Oddity {
            message: format!("the glob `{shown}` {what}"),
            advice,
        })
    };
    if glob.starts_with('#') {
        return odd(
            "is no comment: in quotes, the `#` is part of the path",
            "leave it out, or write `#` without quotes for a comment".to_owned(),
        );
    }
    let trimmed = glob.trim();
    if trimmed.len() != glob.len() {
        return odd(
            "begins or ends with a blank, which is part of the path",
            format!("write `{}`", visible(trimmed)),
        );
    }
    if let Some(inside) = in_quotes(glob) {
        return odd(
            "is in quotes twice: the inner ones are part of the path",
            format!("write `{}`", visible(inside)),
        );
    }
    if let Some(rest) = glob.strip_prefix("~/").or_else(|| after_drive(glob)) {
        return odd(
            "is a path on a machine, and paths start at the top of the repository",
            format!(
                "write `{}`",
                visible(with_slashes(rest).trim_start_matches('/'))
            ),
        );
    }
    if glob.starts_with(":(") || glob.starts_with(":/") || glob.starts_with(":!") {
        return odd(
            "is written as for `git add`: here, `:` is part of the path",
            "write the glob alone, and what it must not match under `except:`".to_owned(),
        );
    }
    if is_regex(glob) {
        return odd(
            "looks like a regular expression, and is read as a glob",
            "write the expression under `match_regex:`, or a glob, e.g. `content/**/*.md`"
                .to_owned(),
        );
    }
    if is_windows(glob) {
        return odd(
            "has a `\\` that makes the character behind it stand for itself, and is no separator",
            format!("write `{}`", visible(&with_slashes(glob))),
        );
    }
    if has_extended_pattern(glob) {
        return odd(
            "has a pattern such as `!(a|b)`, which is read letter for letter here",
            "write the choices in braces, e.g. `{a,b}`, and what it must not match under `except:`"
                .to_owned(),
        );
    }
    if glob.contains(", ") && !glob.contains('{') {
        let list: Vec<String> = glob
            .split(", ")
            .map(|one| format!("\"{}\"", visible(one)))
            .collect();
        return odd(
            "has `, ` in it, and is one glob",
            format!("write a list: [{}]", list.join(", ")),
        );
    }
    if let Some(better) = stars_within(glob) {
        return odd(
            "has `**` beside other characters, where it is no more than `*`: it crosses directories as a whole segment only",
            format!("write `{}`", visible(&better)),
        );
    }
    if glob.contains("%20") || glob.contains("%2F") {
        return odd(
            "is percent-encoded, and paths are as git has them",
            "write the characters themselves".to_owned(),
        );
    }
    if is_directory_name(glob) {
        return odd(
            "is one file of that name: what lies in a directory has a path of its own",
            if glob.contains('/') {
                format!("write `{shown}/**` if it is a directory")
            } else {
                format!(
                    "write `{shown}/**` if it is a directory, or `**/{shown}/**` if it may be anywhere"
                )
            },
        );
    }
    None
}

fn in_quotes(glob: &str) -> Option<&str> {
    ['"', '\'', '`'].into_iter().find_map(|quote| {
        let inside = glob.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.is_empty()).then_some(inside)
    })
}

/// The part after `C:\` or `C:/`.
fn after_drive(glob: &str) -> Option<&str> {
    let rest = glob
        .strip_prefix(|c: char| c.is_ascii_alphabetic())?
        .strip_prefix(':')?;
    rest.strip_prefix(['/', '\\'])
}

fn is_regex(glob: &str) -> bool {
    let anchored = glob.starts_with('^') || glob.ends_with('$') && !glob.ends_with("\\$");
    let parts = [
        ".*\\.", "[^/]", "(?", ".+", "]+", ")+", "\\d", "\\w", "\\/", "(.*)",
    ];
    anchored || parts.iter().any(|part| glob.contains(part))
}

/// Whether a `\` precedes a character that needs no escape, or a `*` after a name.
fn is_windows(glob: &str) -> bool {
    let chars: Vec<char> = glob.chars().collect();
    let mut i = 0;
    while let Some(c) = chars.get(i) {
        if *c == '\\' {
            let before = i.checked_sub(1).and_then(|before| chars.get(before));
            let behind_name = before.is_some_and(|c| c.is_alphanumeric() || "_-*.".contains(*c));
            match chars.get(i + 1) {
                Some('*' | '?' | '[' | '{' | '\\') if behind_name => return true,
                Some(next)
                    if next.is_alphanumeric() || matches!(next, '_' | '.' | '/' | ' ' | '\\') =>
                {
                    return true;
                }
                Some(_) | None => {}
            }
            i += 1;
        }
        i += 1;
    }
    false
}

fn with_slashes(glob: &str) -> String {
    glob.replace("\\\\", "/").replace('\\', "/")
}

fn has_extended_pattern(glob: &str) -> bool {
    let opens = ["!(", "@(", "+(", "?(", "*("]
        .iter()
        .any(|open| glob.contains(open));
    (opens || glob.contains('(') && glob.contains('|')) && glob.contains(')')
}

/// A glob in which `**` is only part of a segment, rewritten with separate segments.
fn stars_within(glob: &str) -> Option<String> {
    let is_lone = |segment: &str| segment == "**";
    let mut found = false;
    let segments: Vec<String> = glob
        .split('/')
        .map(|segment| {
            let (start, end) = match segment.split_once("**") {
                Some(parts) if !is_lone(segment) && !segment.contains(['{', '[', '\\']) => parts,
                Some(_) | None => return segment.to_owned(),
            };
            found = true;
            match (start, end.trim_start_matches('*')) {
                ("", end) => format!("**/*{end}"),
                (start, "") => format!("{start}*/**"),
                (start, end) => format!("{start}*/**/*{end}"),
            }
        })
        .collect();
    found.then(|| segments.join("/"))
}

/// Names of files without an extension that are common in repositories.
const FILES: [&str; 22] = [
    "authors",
    "browserslist",
    "caddyfile",
    "changelog",
    "cname",
    "codeowners",
    "containerfile",
    "contributing",
    "copying",
    "dockerfile",
    "gemfile",
    "jenkinsfile",
    "justfile",
    "license",
    "licence",
    "makefile",
    "notice",
    "pipfile",
    "procfile",
    "rakefile",
    "readme",
    "vagrantfile",
];

/// Common endings of file names that begin with a dot.
const DOT_FILES: [&str; 13] = [
    "rc",
    "ignore",
    "attributes",
    "config",
    "modules",
    "version",
    "versions",
    "env",
    "mailmap",
    "htaccess",
    "DS_Store",
    "nojekyll",
    "keep",
];

/// Whether a glob has no wildcard, and its last segment looks like a directory.
fn is_directory_name(glob: &str) -> bool {
    let Some(alternatives) = alternatives(glob) else {
        return false;
    };
    alternatives.iter().all(|alternative| {
        let tokens = tokens(alternative);
        let text: Option<String> = tokens
            .into_iter()
            .map(|token| match token {
                Token::Literal(c) => Some(c),
                Token::Wildcard => None,
            })
            .collect();
        text.is_some_and(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            match name.strip_prefix('.') {
                Some(rest) => {
                    !rest.contains('.')
                        && !rest.starts_with("env")
                        && !rest.starts_with('_')
                        && !DOT_FILES.iter().any(|end| rest.ends_with(end))
                }
                None => {
                    !name.contains('.')
                        && !name.starts_with('_')
                        && name.chars().count() > 1
                        && name.chars().any(char::is_lowercase)
                        && !FILES.contains(&name.to_lowercase().as_str())
                }
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::oddity;

    fn advised(glob: &str) -> String {
        oddity(glob).map_or_else(|| "fine".to_owned(), |odd| odd.advice)
    }

    #[test]
    fn globs_of_other_systems_and_tools_are_told_what_is_meant_here() {
        for (glob, expected) in [
            (r"content\posts\**", "write `content/posts/**`"),
            (r"content\**", "write `content/**`"),
            (r"content\*.md", "write `content/*.md`"),
            (r"static\\css\\**", "write `static/css/**`"),
            (r"C:\site\content\**", "write `site/content/**`"),
            ("C:/site/**", "write `site/**`"),
            ("~/site/content/**", "write `site/content/**`"),
            (" content/**", "write `content/**`"),
            ("content/** ", "write `content/**`"),
            ("'content/**'", "write `content/**`"),
            ("**.md", "write `**/*.md`"),
            ("content/**.md", "write `content/**/*.md`"),
            ("content/post**", "write `content/post*/**`"),
            (
                "content/**, static/**",
                r#"write a list: ["content/**", "static/**"]"#,
            ),
            (
                ".github",
                "write `.github/**` if it is a directory, or `**/.github/**` if it may be anywhere",
            ),
            (
                "node_modules",
                "write `node_modules/**` if it is a directory, or `**/node_modules/**` if it may be anywhere",
            ),
            (
                "content/posts",
                "write `content/posts/**` if it is a directory",
            ),
            (
                "{content,static}",
                "write `{content,static}/**` if it is a directory, or `**/{content,static}/**` if it may be anywhere",
            ),
            ("My%20Files/**", "write the characters themselves"),
            (
                ":(exclude)content/**",
                "write the glob alone, and what it must not match under `except:`",
            ),
        ] {
            assert_eq!(advised(glob), expected, "{glob}");
        }
        for glob in [
            r"^content/.*\.md$",
            r".*\.md",
            "content/.+",
            r"posts/\d{4}/**",
            "content/[^/]+/x.md",
        ] {
            assert!(advised(glob).contains("match_regex"), "{glob}");
        }
        for glob in ["content/!(drafts)/**", "@(content|static)/**", "*.(css|js)"] {
            assert!(advised(glob).contains("{a,b}"), "{glob}: {}", advised(glob));
        }
    }

    #[test]
    fn globs_that_may_well_be_meant_are_let_pass() {
        for glob in [
            "**",
            "*",
            "content/**/*.md",
            "README.md",
            "LICENSE",
            "Makefile",
            ".gitignore",
            ".nvmrc",
            ".editorconfig",
            "go.mod",
            r"\!important.md",
            r"a/\[id\]/*.md",
            r"\{x\}.md",
            "static/_headers",
            "index{,.zh}.md",
            "{layouts,themes}/**",
            "a b/**",
            "src/pages/[[]*",
            ".env.local",
            "CNAME",
            ".well-known/**",
            "a?.md",
            "[!_]*/**",
            "Dockerfile",
            "docs/.nojekyll",
        ] {
            assert_eq!(advised(glob), "fine", "{glob}");
        }
    }
}
