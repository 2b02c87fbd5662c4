//! The branches that a site follows: globs over valid branch names.
//!
//! The rules for valid names are from git-check-ref-format(1).

use crate::rules::{Glob, Token, alternatives, tokens};
use crate::sanitize::visible;
use crate::settings::{Located, Section};

/// Reads `branches`, each as written and as a glob. Default: the branch `main`.
pub(super) fn read(section: &mut Section) -> Vec<Located<(String, Glob)>> {
    let given = section.texts("branches");
    let given = if given.is_empty() {
        vec![Located {
            value: "main".to_owned(),
            at: section.at(),
        }]
    } else {
        given
    };
    given
        .into_iter()
        .filter_map(|text| {
            let glob = read_one(section, &text)?;
            Some(Located {
                value: (text.value, glob),
                at: text.at,
            })
        })
        .collect()
}

fn read_one(section: &mut Section, text: &Located<String>) -> Option<Glob> {
    if let Some((message, advice)) = impossible(&text.value) {
        section.problem(text.at.clone(), message, Some(advice));
        return None;
    }
    if let Some((message, advice)) = odd(&text.value) {
        section.warning(text.at.clone(), message, Some(advice));
    }
    match Glob::parse(&text.value) {
        Ok(glob) => Some(glob),
        Err(error) => {
            section.problem(text.at.clone(), error.message, error.advice);
            None
        }
    }
}

/// Why no branch can have a name that this matches, and a suggestion.
fn impossible(text: &str) -> Option<(String, String)> {
    let shown = visible(text);
    let wrong = |what: &str, advice: String| Some((format!("`{shown}` {what}"), advice));
    if let Some(rest) = text.strip_prefix('!') {
        return wrong(
            "takes no branch back: only those that are listed are followed",
            format!(
                "list the branches that the site follows, without `{}`, e.g. `[main, \"release/*\"]`",
                visible(rest)
            ),
        );
    }
    if let Some(name) = text.strip_prefix("refs/heads/") {
        return Some((
            "branches are named without `refs/heads/`".to_owned(),
            format!("write `{name}`"),
        ));
    }
    if text.starts_with("refs/") {
        return wrong(
            "is no branch: a site follows branches, and neither tags nor other refs",
            "name a branch, e.g. `main`; for tags, see `trigger: release`".to_owned(),
        );
    }
    // Reflogs also contain braces, which the glob would interpret.
    let reflog = text
        .split_once("@{")
        .and_then(|(_, rest)| rest.split_once('}'));
    if reflog.is_some_and(|(inside, _)| !inside.contains(',')) {
        return wrong(
            "matches no branch: git allows no `@{` in a branch's name",
            "write the branch's name as git has it, e.g. `main` or `release/*`".to_owned(),
        );
    }
    let meant = meant(text);
    let advice = |otherwise: &str| {
        if meant.is_empty() || meant == text {
            otherwise.to_owned()
        } else {
            format!("write `{}`", visible(&meant))
        }
    };
    for alternative in alternatives(text).unwrap_or_default() {
        if let Some(why) = refused(&alternative) {
            return wrong(
                &format!("matches no branch: {why}"),
                advice("write the branch's name as git has it, e.g. `main` or `release/*`"),
            );
        }
    }
    None
}

/// Why git rejects every name that a glob without braces matches.
fn refused(alternative: &str) -> Option<String> {
    // Escapes of glob characters are not part of the name.
    let unescaped = ["\\{", "\\}", "\\!", "\\,", "\\-"]
        .iter()
        .fold(alternative.to_owned(), |text, escape| {
            text.replace(escape, "")
        });
    if unescaped.contains('\\') {
        return Some("git allows no `\\` in a branch's name".to_owned());
    }
    // A wildcard can stand for something valid.
    let name: String = tokens(alternative)
        .into_iter()
        .map(|token| match token {
            Token::Literal(c) => c,
            Token::Wildcard => '*',
        })
        .collect();
    let holds = |c: char| format!("git allows no `{c}` in a branch's name");
    if let Some(c) = name.chars().find(|c| c.is_control()) {
        return Some(format!(
            "git allows no control character such as `{}` in a branch's name",
            c.escape_debug()
        ));
    }
    if name.contains(char::is_whitespace) {
        return Some("git allows no blank in a branch's name".to_owned());
    }
    if let Some(c) = name.chars().find(|c| "~^:".contains(*c)) {
        return Some(holds(c));
    }
    if name == "@" || name == "HEAD" {
        return Some(format!("`{name}` is no branch's name to git"));
    }
    for part in ["..", "@{", "//"] {
        if name.contains(part) {
            return Some(format!("git allows no `{part}` in a branch's name"));
        }
    }
    for (start, what) in [('/', "a `/`"), ('-', "a `-`")] {
        if name.starts_with(start) {
            return Some(format!("to git, no branch's name begins with {what}"));
        }
    }
    for (end, what) in [('/', "a `/`"), ('.', "a `.`")] {
        if name.ends_with(end) {
            return Some(format!("to git, no branch's name ends in {what}"));
        }
    }
    for part in name.split('/') {
        if part.starts_with('.') {
            return Some("to git, no part of a branch's name begins with a `.`".to_owned());
        }
        if part.ends_with(".lock") {
            return Some("to git, no part of a branch's name ends in `.lock`".to_owned());
        }
    }
    None
}

/// A suggestion: the text without regular-expression marks, blanks and slashes around it.
fn meant(text: &str) -> String {
    let mut meant = text.trim().trim_matches('/').to_owned();
    meant = meant
        .trim_start_matches('^')
        .trim_end_matches('$')
        .to_owned();
    for (from, to) in [
        ("\\d+", "*"),
        ("\\.", "."),
        (".*", "*"),
        (".+", "*"),
        ("\\/", "/"),
        ("\\", "/"),
        ("//", "/"),
    ] {
        meant = meant.replace(from, to);
    }
    let meant = meant.trim().trim_matches('/').to_owned();
    let is_good = |glob: &String| {
        !glob.contains(' ') && refused(glob).is_none() && !glob.contains(['(', '|'])
    };
    Some(meant).filter(is_good).unwrap_or_default()
}

/// Names that git accepts, but that are probably mistakes.
fn odd(text: &str) -> Option<(String, String)> {
    let shown = visible(text);
    let odd = |what: &str, advice: String| Some((format!("the branch `{shown}` {what}"), advice));
    for remote in ["origin/", "upstream/", "remotes/", "heads/"] {
        if let Some(name) = text.strip_prefix(remote) {
            let name = name.strip_prefix("origin/").unwrap_or(name);
            return odd(
                &format!("begins with `{remote}`, which is no part of a branch's name on a forge"),
                format!("write `{}`", visible(name)),
            );
        }
    }
    if text.contains(',') && !text.contains('{') {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        return odd(
            "is one name with a comma in it",
            format!("write a list: [{}]", names.join(", ")),
        );
    }
    let regex = [".*", ".+", "]+", "(", "|"]
        .iter()
        .any(|part| text.contains(part))
        || text.ends_with('$');
    if regex {
        let inside = text.trim_end_matches('$').trim_matches(['(', ')']);
        let names: Vec<&str> = inside.split('|').collect();
        let advice = if names.len() > 1 {
            format!("write a list: [{}]", names.join(", "))
        } else {
            let meant = meant(text);
            let meant = if meant.is_empty() || meant == text {
                "release/*"
            } else {
                &meant
            };
            format!("write a glob, e.g. `{meant}`")
        };
        return odd(
            "looks like a regular expression, and is read as a glob",
            advice,
        );
    }
    let is_variable = text.starts_with(['$', '%']) && text.contains(char::is_lowercase);
    if text.starts_with('<') || is_variable {
        return odd(
            "looks like something that was to be filled in",
            "write the branch's name; `${NAME}` is read from the environment".to_owned(),
        );
    }
    let quoted = ['"', '\'']
        .into_iter()
        .find(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote));
    if let Some(quote) = quoted {
        return odd(
            "is in quotes twice",
            format!("write `{}`", text.trim_matches(quote)),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_allows_in_no_branch_is_refused_with_what_was_meant() {
        for (text, why, advice) in [
            ("^main$", "git allows no `^`", "write `main`"),
            ("main ", "no blank", "write `main`"),
            (" main", "no blank", "write `main`"),
            ("main dev", "no blank", "as git has it"),
            ("main/", "ends in a `/`", "write `main`"),
            ("/main", "begins with a `/`", "write `main`"),
            (
                "!dev",
                "takes no branch back",
                "list the branches that the site follows, without `dev`",
            ),
            ("refs/heads/main", "without `refs/heads/`", "write `main`"),
            ("refs/tags/v*", "is no branch", "trigger: release"),
            ("release/.*", "begins with a `.`", "write `release/*`"),
            (r"release/\d+", r"no `\`", "write `release/*`"),
            (r"release\*", r"no `\`", "write `release/*`"),
            ("a..b", "no `..`", "as git has it"),
            ("main~1", "no `~`", "as git has it"),
            ("main:dev", "no `:`", "as git has it"),
            ("HEAD", "`HEAD` is no branch's name", "as git has it"),
            ("@", "`@` is no branch's name", "as git has it"),
            ("main@{1}", "no `@{`", "as git has it"),
            ("feature.lock", "ends in `.lock`", "as git has it"),
            ("main.", "ends in a `.`", "as git has it"),
            ("-main", "begins with a `-`", "as git has it"),
            ("{main,dev/}", "ends in a `/`", ""),
            ("release//*", "no `//`", "write `release/*`"),
        ] {
            let (message, help) = impossible(text).unwrap_or_else(|| panic!("{text}"));
            assert!(message.contains(why), "{text}: {message}");
            assert!(help.contains(advice), "{text}: {help}");
            assert!(
                !message.contains("paths") && !help.contains("except"),
                "{text}: {message} {help}"
            );
        }
    }

    #[test]
    fn names_that_are_hardly_meant_are_warned_of() {
        for (text, advice) in [
            ("origin/main", "write `main`"),
            ("remotes/origin/main", "write `main`"),
            ("main,dev", "write a list: [main, dev]"),
            ("(main|dev)", "write a list: [main, dev]"),
            ("main|dev", "write a list: [main, dev]"),
            ("main$", "write a glob, e.g. `main`"),
            ("feature-.*", "write a glob, e.g. `feature-*`"),
            ("<branch>", "write the branch's name"),
            ("$branch", "write the branch's name"),
        ] {
            assert_eq!(impossible(text), None, "{text}");
            let (_, help) = odd(text).unwrap_or_else(|| panic!("{text}"));
            assert!(help.contains(advice), "{text}: {help}");
        }
    }

    #[test]
    fn branches_and_globs_that_are_in_use_are_let_pass() {
        for text in [
            "main",
            "*",
            "**",
            "release/*",
            "release/**",
            "v[0-9].x",
            "{main,next}",
            "gh-pages",
            "renovate/node-20.x",
            "release{,-next}",
            r"\!dev",
            "dependabot/npm_and_yarn/a@1",
            "user/öl",
            "1.x",
            "feature/#12",
            "stable-?",
            "a+b",
        ] {
            assert_eq!(impossible(text), None, "{text}");
            assert_eq!(odd(text), None, "{text}");
        }
    }
}
