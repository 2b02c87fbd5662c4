//! Directories that are one entry in git: submodules, and links to directories.
//!
//! If one changes, git and the forges name only the entry, and not the files in it, for which globs are written. A
//! path that ends in `/` is known to be such a directory, and matches every glob that can match something below it.
//! Any other path may be such a directory or a file: it matches the globs that name it literally as a directory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::alternatives::{Token, alternatives, tokens};
use super::{Glob, Matcher, Matches, Role};

/// The maximum number of globs built from the beginnings of a site's globs; building them takes some 100 MB.
const MOST_BEGINNINGS: usize = 4_000;

/// Matches a site's globs against directories. Globs are identified by their indices, as in the matcher.
#[derive(Clone, Debug)]
pub(super) struct Directories {
    /// The beginning of each glob up to its first wildcard; sorted.
    starts: Box<[Start]>,
    /// Built for the first directory.
    beginnings: Arc<OnceLock<Beginnings>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Start {
    text: Box<[u8]>,
    place: usize,
    /// Whether the rest is `**`, which matches everything in a directory.
    is_whole: bool,
}

/// Globs for the directories above the files that a glob matches.
#[derive(Debug)]
struct Beginnings {
    matcher: Matcher,
    /// For each beginning, the indices of its globs.
    places: Vec<Vec<usize>>,
    /// Globs with too many beginnings, which are assumed to match something in every directory.
    any: Vec<usize>,
}

impl Directories {
    pub fn new<'g>(globs: impl IntoIterator<Item = &'g Glob>) -> Self {
        let mut starts: Vec<Start> = (0..)
            .zip(globs)
            .flat_map(|(place, glob)| {
                let alternatives = alternatives(glob.text()).unwrap_or_default();
                alternatives
                    .into_iter()
                    .map(move |alternative| Start::of(&alternative, place))
            })
            .filter(|start| start.text.contains(&b'/'))
            .collect();
        starts.sort();
        starts.dedup();
        Self {
            starts: starts.into(),
            beginnings: Arc::default(),
        }
    }

    /// The indices of the globs for a path that may be a directory: those that match something in it and, for
    /// excluding globs, those that match everything in it. `globs` and `roles` must be those that it was built
    /// from.
    pub fn matches<'g>(
        &self,
        path: &[u8],
        is_directory: bool,
        roles: &[Role],
        globs: impl Fn() -> Vec<&'g Glob>,
    ) -> Matches {
        let mut places = Matches::new();
        self.named(path, roles, &mut places);
        if is_directory {
            let beginnings = self
                .beginnings
                .get_or_init(|| Beginnings::new(&globs(), roles));
            for found in beginnings.matcher.matches(path) {
                places.extend_from_slice(beginnings.places.get(found).map_or(&[], Vec::as_slice));
            }
            places.extend_from_slice(&beginnings.any);
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Globs that begin with the path and a slash, without a wildcard.
    fn named(&self, path: &[u8], roles: &[Role], places: &mut Matches) {
        let below = |start: &Start| {
            let rest = start.text.strip_prefix(path);
            rest.is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        // Those with this beginning are adjacent, except for names such as `a-b` between `a` and `a/`.
        let from = self.starts.partition_point(|start| *start.text < *path);
        let with_path = self.starts.get(from..).unwrap_or_default();
        let with_path = with_path
            .iter()
            .take_while(|start| start.text.starts_with(path));
        for start in with_path.filter(|start| below(start)) {
            let is_wanted = match roles.get(start.place) {
                Some(Role::Match { .. }) => true,
                Some(Role::Ignore { .. } | Role::Except { .. }) => {
                    start.is_whole && start.text.len() == path.len() + 1
                }
                None => false,
            };
            if is_wanted {
                places.push(start.place);
            }
        }
    }
}

impl Start {
    fn of(alternative: &str, place: usize) -> Self {
        let tokens = tokens(alternative);
        let text: String = tokens
            .iter()
            .map_while(|token| match token {
                Token::Literal(c) => Some(*c),
                Token::Wildcard => None,
            })
            .collect();
        let is_whole = ["/**", "/**/*"].iter().any(|end| {
            let start = alternative.strip_suffix(end);
            start.is_some_and(|start| start.len() + 1 == text.len())
        });
        Self {
            text: text.into_bytes().into(),
            place,
            is_whole,
        }
    }
}

impl Beginnings {
    fn new(globs: &[&Glob], roles: &[Role]) -> Self {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut any = Vec::new();
        for (place, (glob, role)) in globs.iter().zip(roles).enumerate() {
            let is_match = matches!(role, Role::Match { .. });
            let alternatives = alternatives(glob.text());
            if is_match && (alternatives.is_none() || places.len() > MOST_BEGINNINGS) {
                any.push(place);
                continue;
            }
            for alternative in alternatives.into_iter().flatten() {
                let segments: Vec<&str> = alternative.split('/').collect();
                for length in lengths(&segments, is_match) {
                    let beginning = segments.get(..length).unwrap_or_default().join("/");
                    let places = places.entry(beginning).or_default();
                    if places.last() != Some(&place) {
                        places.push(place);
                    }
                }
            }
        }
        // A beginning that is not a valid glob, such as one with a `\` before the slash, never matches a directory.
        let (globs, places): (Vec<Glob>, Vec<Vec<usize>>) = places
            .into_iter()
            .filter_map(|(beginning, places)| Some((Glob::parse(&beginning).ok()?, places)))
            .unzip();
        Self {
            matcher: Matcher::new(&globs),
            places,
            any,
        }
    }
}

/// How many segments of a glob can match a directory above the files that it matches: any number of the first ones,
/// or for excluding globs those before a final `**`, so that everything in the directory is excluded.
fn lengths(segments: &[&str], is_match: bool) -> Range<usize> {
    match segments {
        _ if is_match => 1..segments.len(),
        [start @ .., "**", "*"] | [start @ .., "**"] if !start.is_empty() => {
            start.len()..start.len() + 1
        }
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use crate::changes::{ChangeKind, FilePath};
    use crate::rules::{BaseUrl, Glob, PathRegex, Rule, Rules, Template};

    /// The URLs that a path purges under rules `glob -> template`; a directory's template begins with `dir `.
    fn asked(rules: &[(&str, &str)], ignore: &[&str], path: &str) -> Vec<String> {
        let bases = vec![BaseUrl::parse("https://a.b").unwrap()];
        let glob = |text: &&str| Glob::parse(text).unwrap();
        let rules = rules.iter().map(|(glob_text, template)| {
            let mut rule = Rule {
                strip: "content/".to_owned(),
                name: (*glob_text).to_owned(),
                ..Rule::default()
            };
            let mut groups = Vec::new();
            match glob_text.strip_prefix("regex ") {
                Some(regex) => {
                    let regex = PathRegex::parse(regex).unwrap();
                    groups = regex.groups().to_vec();
                    rule.regex = Some(regex);
                }
                None => {
                    let mut globs = glob_text.split(" but ");
                    rule.matches = vec![Glob::parse(globs.next().unwrap()).unwrap()];
                    rule.except = globs.map(|text| Glob::parse(text).unwrap()).collect();
                }
            }
            match template.strip_prefix("dir ") {
                Some(text) => {
                    rule.directories =
                        vec![Template::parse_directory(text, &bases, &groups).unwrap()];
                }
                None => rule.urls = vec![Template::parse(template, &bases, &groups).unwrap()],
            }
            rule
        });
        let rules = Rules::new(
            bases.clone(),
            ignore.iter().map(glob).collect(),
            rules.collect(),
        );
        let mapped = rules.targets(&FilePath::new(path), ChangeKind::Modified);
        let targets = mapped.targets.iter();
        targets
            .map(|target| {
                format!(
                    "{} {}",
                    target.kind.as_str(),
                    target.url.replace("https://a.b", "")
                )
            })
            .collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn a_path_that_globs_name_as_a_directory_meets_them() {
        for (glob, path) in [
            ("themes/ananke/**", "themes/ananke"),
            ("{layouts,themes/ananke}/**", "themes/ananke"),
            ("themes/ananke/**/*.css", "themes/ananke"),
            ("themes/ananke/static/*.css", "themes/ananke"),
            ("themes/ananke/assets/x.css", "themes/ananke/assets"),
            ("themes/**", "themes"),
        ] {
            assert_eq!(
                asked(&[(glob, "dir /")], &[], path),
                ["directory /"],
                "{glob}"
            );
        }
        // It may also be a file, about which these say nothing.
        for (glob, path) in [
            ("themes/**/*.css", "themes/ananke"),
            ("**/*.css", "LICENSE"),
            ("themes/*/static/**", "themes/ananke"),
            ("themes/ananke-2/**", "themes/ananke"),
            ("themes/ananke.css", "themes/ananke"),
            ("content/**/*.md", "content/LICENSE"),
        ] {
            assert_eq!(asked(&[(glob, "dir /")], &[], path), NOTHING, "{glob}");
        }
    }

    #[test]
    fn a_path_that_is_known_for_a_directory_meets_every_glob_for_something_in_it() {
        for (glob, path) in [
            ("themes/ananke/**", "themes/ananke/"),
            ("themes/ananke", "themes/ananke/"),
            ("themes/**/*.css", "themes/ananke/"),
            ("themes/*/static/**", "themes/ananke/"),
            ("**/*.css", "vendor/x/"),
            ("content/**/*.md", "content/docs/"),
            ("content/**/*.md", "content/"),
            ("*/x.css", "vendor/"),
            ("themes/{a,ananke}/*.css", "themes/ananke/"),
        ] {
            assert_eq!(
                asked(&[(glob, "dir /")], &[], path),
                ["directory /"],
                "{glob}"
            );
        }
        for (glob, path) in [
            ("content/**", "themes/ananke/"),
            ("*.css", "vendor/"),
            ("themes/*.css", "themes/ananke/"),
            ("themes/other/**", "themes/ananke/"),
        ] {
            assert_eq!(asked(&[(glob, "dir /")], &[], path), NOTHING, "{glob}");
        }
    }

    #[test]
    fn a_directory_is_taken_out_only_by_what_takes_out_all_of_it() {
        for (ignored, path) in [
            ("vendor/**", "vendor"),
            ("vendor/**", "vendor/"),
            ("**/node_modules/**", "a/node_modules/"),
            ("vendor/x/**/*", "vendor/x/"),
            ("vendor/**", "vendor/x/"),
        ] {
            assert_eq!(
                asked(&[("**", "/")], &[ignored], path),
                NOTHING,
                "{ignored}"
            );
        }
        for (ignored, path) in [
            ("vendor/**/*.md", "vendor/"),
            ("**/README.md", "vendor/"),
            ("vendor/x/**", "vendor/"),
        ] {
            assert_eq!(
                asked(&[("**", "/")], &[ignored], path),
                ["url /"],
                "{ignored}"
            );
        }
        let rules = [("content/** but content/drafts/**", "/")];
        assert_eq!(asked(&rules, &[], "content/drafts/"), NOTHING);
        assert_eq!(asked(&rules, &[], "content/docs/"), ["url /"]);
        let rules = [("content/** but content/docs/**/*.txt", "/")];
        assert_eq!(asked(&rules, &[], "content/docs/"), ["url /"]);
    }

    #[test]
    fn urls_that_lie_in_a_directory_are_purged_with_it() {
        for (template, expected) in [
            ("/{page}", "directory /docs/"),
            ("/{page|hugo}", "directory /docs/"),
            ("/{path}", "directory /docs/"),
            ("/{dir}/{stem}.html", "directory /docs/"),
            ("/img/{dir}/{stem}.webp?v=1", "directory /img/docs/"),
            ("/p/{name}", "directory /p/"),
            ("/{stem}.html", "directory /"),
            ("/search?of={path}", "directory /"),
            ("/feed.xml", "url /feed.xml"),
            ("/feed.xml?v=1", "url /feed.xml?v=1"),
            ("dir /{dir}/", "directory /docs/"),
            ("dir /tags", "directory /tags/"),
        ] {
            let rules = [("content/**/*.md", template)];
            assert_eq!(
                asked(&rules, &[], "content/docs/"),
                [expected],
                "{template}"
            );
        }
        let rules = [("content/**/*.md", "/{page}")];
        assert_eq!(asked(&rules, &[], "content/"), ["directory /"]);
        assert_eq!(asked(&rules, &[], "content/../"), NOTHING);
        // Only a file's own URL is one.
        assert_eq!(
            asked(&[("content/**", "/{path}")], &[], "content/a"),
            ["url /a"]
        );
    }

    #[test]
    fn expressions_see_a_directory_with_its_slash() {
        for (template, expected) in [
            ("dir /{section}/", "directory /docs/"),
            ("/{section}/index.html", "directory /docs/"),
        ] {
            let rules = [("regex ^content/(?<section>[^/]+)/", template)];
            assert_eq!(
                asked(&rules, &[], "content/docs/"),
                [expected],
                "{template}"
            );
            assert_eq!(asked(&rules, &[], "content/docs"), NOTHING);
        }
        let rules = [("regex ^content/(?<lang>[a-z]{2})/", "/{lang}/feed.xml")];
        assert_eq!(asked(&rules, &[], "content/de/docs/"), ["url /de/feed.xml"]);
    }
}
