//! Lints for the rules of one site: those that never match, and those that cannot do what was probably intended.

use crate::changes::ChangeKind;
use crate::rules::{Glob, Rule};
use crate::settings::Section;

/// Warns about a rule that can never match, or whose `strip` has no effect. `earlier` contains the rules before it.
pub(super) fn check(section: &mut Section, rule: &Rule, earlier: &[Rule], ignore: &[Glob]) {
    warn_of_strip(section, rule);
    warn_of_cover(section, rule, earlier, ignore);
    let nothing_but_prefetch = rule.urls.is_empty() && rule.directories.is_empty();
    if rule.on == [ChangeKind::Removed] && nothing_but_prefetch && !rule.prefetch.is_empty() {
        let at = section.place_of("on").unwrap_or_else(|| section.at());
        section.warning(
            at,
            format!(
                "the rule `{}` does nothing: a removed file is never prefetched",
                rule.name
            ),
            None,
        );
    }
}

fn warn_of_strip(section: &mut Section, rule: &Rule) {
    let strip = &rule.strip;
    let Some(at) = section.place_of("strip").filter(|_| !strip.is_empty()) else {
        return;
    };
    if let Some(without) = strip.strip_prefix('/') {
        section.warning(
            at,
            format!("no path starts with `{strip}`, so nothing is stripped"),
            Some(format!("write `strip: {without}`")),
        );
        return;
    }
    let odd = if strip.contains(['*', '?']) {
        Some((
            "has a wildcard, which stands for nothing else here",
            "write what all its paths begin with, or take it off by a group of `match_regex`",
        ))
    } else if strip.contains('\\') {
        Some((
            "has a `\\`, which no path has between its directories",
            "write `/`",
        ))
    } else if strip.starts_with('^') {
        Some((
            "looks like a regular expression, and is cut off letter for letter",
            "write what all its paths begin with",
        ))
    } else if strip.starts_with("./")
        || strip.starts_with("~/")
        || strip.contains("../")
        || strip.contains("//")
    {
        Some((
            "begins no path in a repository",
            "write it from the top of the repository, e.g. `content/`",
        ))
    } else {
        None
    };
    if let Some((what, advice)) = odd {
        section.warning(
            at,
            format!("`strip: {}` {what}", strip.escape_debug()),
            Some(advice.to_owned()),
        );
        return;
    }
    if !strip.ends_with('/') {
        section.warning(
            at.clone(),
            format!("`strip: {strip}` is cut off letter for letter, also from `{strip}s/...`"),
            Some(format!("write `strip: {strip}/` to cut off the directory")),
        );
    }
    let apart = |glob: &Glob| {
        let start = literal_start(glob.text());
        !start.starts_with(strip.as_str()) && !strip.starts_with(start)
    };
    if !rule.matches.is_empty() && rule.matches.iter().all(apart) {
        section.warning(
            at,
            format!("no path that this rule matches starts with `{strip}`, so nothing is stripped"),
            None,
        );
    }
}

/// Characters with a special meaning in globs.
const META: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

/// The literal start that all paths matched by a glob obviously have.
fn literal_start(glob: &str) -> &str {
    let end = glob.find(META).unwrap_or(glob.len());
    glob.get(..end).unwrap_or_default()
}

/// Whether one glob obviously matches every path that the other matches.
fn covers(by: &Glob, glob: &Glob) -> bool {
    let (by, glob) = (by.text(), glob.text());
    let is_literal = |text: &str| !text.is_empty() && !text.contains(META);
    if by == glob || by == "**" || by == "**/*" {
        return true;
    }
    if by.contains('\\') || glob.contains('\\') {
        return false;
    }
    if let Some(folder) = by.strip_suffix("**").filter(|folder| folder.ends_with('/')) {
        let below = literal_start(glob).strip_prefix(folder);
        return is_literal(folder) && below.is_some() && glob != folder;
    }
    let Some(name) = by.strip_prefix("**/") else {
        return false;
    };
    let end = glob.rfind(META).map_or(0, |last| last + 1);
    let tail = glob.get(end..).unwrap_or_default();
    match name.strip_prefix('*') {
        // Any name with this ending.
        Some(suffix) => is_literal(suffix) && !suffix.contains('/') && tail.ends_with(suffix),
        // One name, at the top or in a directory.
        None => {
            let rest = tail.strip_suffix(name);
            let is_whole = |rest: &str| rest.ends_with('/') || (rest.is_empty() && end == 0);
            is_literal(name) && rest.is_some_and(is_whole)
        }
    }
}

fn warn_of_cover(section: &mut Section, rule: &Rule, earlier: &[Rule], ignore: &[Glob]) {
    if rule.matches.is_empty() {
        return;
    }
    let covered = |by: &[Glob], glob: &Glob| by.iter().any(|other| covers(other, glob));
    let last = |other: &&Rule| {
        let whole = other.except.is_empty() && other.regex.is_none();
        other.last && whole && rule.on.iter().all(|change| other.on.contains(change))
    };
    let mut globs = rule.matches.iter();
    if globs.all(|glob| covered(&rule.except, glob)) {
        let at = section.place_of("except").unwrap_or_else(|| section.at());
        section.warning(
            at,
            format!(
                "the rule `{}` never fires: `except` takes all it matches",
                rule.name
            ),
            None,
        );
        return;
    }
    let by_last = |glob: &Glob| {
        let mut rules = earlier.iter().filter(last);
        rules.find(|other| covered(&other.matches, glob))
    };
    let covers: Option<Vec<Option<&Rule>>> = rule
        .matches
        .iter()
        .map(|glob| {
            if covered(ignore, glob) {
                Some(None)
            } else {
                by_last(glob).map(Some)
            }
        })
        .collect();
    let Some(covers) = covers else {
        return;
    };
    let why = match covers.iter().flatten().next() {
        None => "the site ignores all it matches".to_owned(),
        Some(other) => format!(
            "the rule `{}` before it takes what it matches and says `last: true`",
            other.name
        ),
    };
    let at = section.place_of("match").unwrap_or_else(|| section.at());
    section.warning(
        at,
        format!("the rule `{}` never fires: {why}", rule.name),
        None,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{said, with_site};

    /// The warnings about the last of these rules, without positions.
    fn warned(rules: &str) -> Vec<String> {
        let text = with_site(&format!(
            "repo: github:acme/website\nbase_urls: https://www.example.com\ncdns: tencent\n\
             ignore: [\"**/README.md\"]\nrules:\n{rules}"
        ));
        said(&text)
            .into_iter()
            .map(|line| match line.split_once(": ") {
                Some((_, words)) => words.to_owned(),
                None => line,
            })
            .collect()
    }

    #[test]
    fn a_strip_that_does_not_strip_is_warned_of() {
        let rule = |glob: &str, strip: &str| {
            format!("- {{match: \"{glob}\", strip: {strip}, urls: \"/{{path}}\"}}\n")
        };
        assert_eq!(
            warned(&rule("content/**", "/content/")),
            ["no path starts with `/content/`, so nothing is stripped"]
        );
        assert_eq!(
            warned(&rule("content/**", "content")),
            ["`strip: content` is cut off letter for letter, also from `contents/...`"]
        );
        assert_eq!(
            warned(&rule("static/**", "content/")),
            ["no path that this rule matches starts with `content/`, so nothing is stripped"]
        );
        for glob in ["content/**", "**/*.md", "content/posts/*", "{content,a}/**"] {
            assert_eq!(warned(&rule(glob, "content/")), [""; 0], "{glob}");
        }
    }

    #[test]
    fn what_covers_a_glob_matches_all_that_it_does() {
        let globs = [
            "**",
            "a/**",
            "a/b/**",
            "**/*.md",
            "**/*b.md",
            "**/b",
            "**/b.md",
            "a/*.md",
            "a/**/*.md",
            "*.md",
            "b",
            "a/b",
            "a/?.md",
            "{a,b}/c.md",
            "a{b,c}/b",
            "**/b/**",
            "*",
            "a/*",
            "**/*",
            "**/*.{md,b}",
            "[ab]/b.md",
            "x{.md,.b}",
            "a/\\*.md",
            "ab/b.md",
            "**/a/b.md",
        ];
        let glob = |text: &str| Glob::parse(text).unwrap();
        let parts = ["a", "b", "ab", "b.md", ".md", "c.md", "x.b", "*.md", "a"];
        let mut paths: Vec<String> = parts.map(str::to_owned).to_vec();
        for _ in 0..2 {
            let longer = paths
                .iter()
                .flat_map(|path| parts.map(|part| format!("{path}/{part}")));
            paths = paths.iter().cloned().chain(longer).collect();
        }
        let mut covered = 0;
        for by in globs.map(glob) {
            for glob in globs.map(glob) {
                if by != glob && covers(&by, &glob) {
                    covered += 1;
                    for path in paths.iter().filter(|path| glob.is_match(path)) {
                        assert!(by.is_match(path), "{} {} {path}", by.text(), glob.text());
                    }
                }
            }
        }
        assert!(covered > 40, "{covered}");
        for (by, other) in [
            ("static/**", "static/css/*.css"),
            ("**/*.md", "content/**/*.md"),
            ("**/README.md", "docs/README.md"),
            ("**/README.md", "README.md"),
        ] {
            assert!(covers(&glob(by), &glob(other)), "{by} {other}");
            assert!(!covers(&glob(other), &glob(by)), "{other} {by}");
        }
    }

    #[test]
    fn a_rule_that_never_fires_is_warned_of() {
        let last = "- {name: a, match: [x/**, y/**], urls: /, last: true}\n";
        let rule = |more: &str| format!("- {{name: b, urls: /, {more}}}\n");

        assert_eq!(
            warned(&rule("match: \"**/README.md\"")),
            ["the rule `b` never fires: the site ignores all it matches"]
        );
        assert_eq!(
            warned(&(last.to_owned() + &rule("match: [y/**, \"**/README.md\"]"))),
            [
                "the rule `b` never fires: the rule `a` before it takes what it matches and says `last: true`"
            ]
        );
        assert_eq!(
            warned(&(last.to_owned() + &rule("match: [y/**, z/**]"))),
            [""; 0]
        );
        assert_eq!(
            warned("- {name: b, match: \"**\", on: removed, prefetch: \"/{path}\"}\n"),
            ["the rule `b` does nothing: a removed file is never prefetched"]
        );
        assert_eq!(
            warned(&(last.to_owned() + &rule("match: [x/z/*.css]"))),
            [
                "the rule `b` never fires: the rule `a` before it takes what it matches and says `last: true`"
            ]
        );
        assert_eq!(
            warned(&rule("match: [a/*.md, b.md], except: \"**/*.md\"")),
            ["the rule `b` never fires: `except` takes all it matches"]
        );
        assert_eq!(
            warned(&rule("match: [a/*.md, b.css], except: \"**/*.md\"")),
            [""; 0]
        );
        let only_added = last.replace("last: true", "last: true, on: added");
        assert_eq!(warned(&(only_added + &rule("match: x/**"))), [""; 0]);
    }
}
