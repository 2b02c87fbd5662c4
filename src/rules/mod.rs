//! Rules: turn a changed path into the URLs, directories and prefetches that it requires.
//!
//! A rule has globs on one side and templates on the other. [`Rules`] contains the compiled rules of one site, so
//! that a path is matched against all globs at once.

mod alternatives;
mod base_url;
mod case;
mod directories;
mod encode;
mod explain;
mod fields;
mod filter;
mod glob;
mod index;
mod matcher;
mod path_regex;
mod reverse;
mod rule;
mod template;

#[cfg(test)]
mod tests;

pub(crate) use alternatives::{Token, alternatives, tokens};
pub use base_url::BaseUrl;
pub use case::{Case, Difference, expected};
pub use explain::{Explained, RuleVerdict};
pub use fields::Field;
pub use filter::Filter;
pub use glob::Glob;
pub use index::IndexName;
pub use matcher::{Matcher, Matches};
pub use path_regex::PathRegex;
pub use reverse::PossibleTemplate;
pub use rule::{Rule, Unmatched};
pub use template::Template;

use crate::changes::{ChangeKind, FilePath};
use crate::purge::{Mode, PurgeKind};
use directories::Directories;
use fields::{Directory, Fields};

/// What is wrong with a glob, a base URL or a template, and a suggestion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// A suggestion.
    pub advice: Option<String>,
}

impl RuleError {
    fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            advice: Some(advice.into()),
        }
    }
}

/// A site's compiled rules.
#[derive(Clone, Debug)]
pub struct Rules {
    base_urls: Vec<BaseUrl>,
    ignore: Vec<Glob>,
    rules: Vec<Rule>,
    /// Matches every glob of the site: `ignore` first, then each rule's `matches` and `except`.
    matcher: Matcher,
    /// The purpose of each of the matcher's globs.
    roles: Vec<Role>,
    /// The same globs, for directories that are one entry in git.
    directories: Directories,
    /// The indices of the rules with an expression.
    with_regex: Vec<usize>,
    unmatched: Unmatched,
    index: Option<IndexName>,
}

/// A glob's purpose, with the index of its rule and its own index in its list.
#[derive(Clone, Copy, Debug)]
enum Role {
    Ignore { glob: usize },
    Match { rule: usize, glob: usize },
    Except { rule: usize, glob: usize },
}

/// The hit of a rule, which is the last one or a new one.
fn hit_of(hits: &mut Vec<Hit>, rule: usize) -> Option<&mut Hit> {
    if hits.last().is_none_or(|hit| hit.rule != rule) {
        hits.push(Hit::of(rule));
    }
    hits.last_mut()
}

/// One target of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'r> {
    /// The rule that requires it.
    pub rule: &'r str,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// The full URL; that of a directory ends in `/`.
    pub url: String,
    /// How to purge, for directories.
    pub mode: Option<Mode>,
    /// The CDNs it is for; none: all of the site's.
    pub cdns: Option<&'r [String]>,
}

/// A template that cannot be filled from a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmappable<'r> {
    /// The rule that contains it.
    pub rule: &'r str,
    /// The template as written.
    pub template: &'r str,
    /// Why there is no URL for it.
    pub why: &'static str,
}

/// The result of the rules for one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped<'r> {
    /// Its targets, in the order of the rules.
    pub targets: Vec<Target<'r>>,
    /// Templates that give no URL for it.
    pub unmappable: Vec<Unmappable<'r>>,
    /// Whether no rule matches the path, and the site does not ignore it either.
    pub unmatched: bool,
    /// Whether it is treated as a directory that is one entry in git.
    pub directory: bool,
}

/// The globs that decide about one path, by their indices.
struct Decision {
    ignored: Option<usize>,
    /// For each rule that a glob or expression matched, in order.
    hits: Vec<Hit>,
}

/// A rule with a matching glob or, if it has none, a matching expression.
struct Hit {
    rule: usize,
    /// The first of its globs that matches.
    glob: Option<usize>,
    /// Whether its expression, if it has one, matches.
    regex: bool,
    /// The first matching glob in `except`.
    except: Option<usize>,
    /// Whether it matches files inside the path, which then is a directory.
    below: bool,
}

impl Hit {
    fn of(rule: usize) -> Self {
        Self {
            rule,
            glob: None,
            regex: true,
            except: None,
            below: false,
        }
    }

    /// Whether the rule matches the path.
    fn matches(&self) -> bool {
        self.regex && self.except.is_none()
    }
}

impl Rules {
    /// Compiles a site's rules, in the order of the file. `ignore` contains the paths that no rule sees.
    pub fn new(base_urls: Vec<BaseUrl>, ignore: Vec<Glob>, rules: Vec<Rule>) -> Self {
        let mut globs = Vec::new();
        let mut roles = Vec::new();
        for (glob, each) in ignore.iter().enumerate() {
            globs.push(each);
            roles.push(Role::Ignore { glob });
        }
        for (rule, each) in rules.iter().enumerate() {
            for (glob, each) in each.matches.iter().enumerate() {
                globs.push(each);
                roles.push(Role::Match { rule, glob });
            }
            for (glob, each) in each.except.iter().enumerate() {
                globs.push(each);
                roles.push(Role::Except { rule, glob });
            }
        }
        let directories = Directories::new(globs.iter().copied());
        let matcher = Matcher::new(globs);
        let with_regex = (0..)
            .zip(&rules)
            .filter(|(_, rule)| rule.regex.is_some())
            .map(|(place, _)| place)
            .collect();
        Self {
            base_urls,
            ignore,
            rules,
            matcher,
            roles,
            directories,
            with_regex,
            unmatched: Unmatched::default(),
            index: None,
        }
    }

    /// Sets what happens for paths that no rule matches.
    pub fn with_unmatched(self, unmatched: Unmatched) -> Self {
        Self { unmatched, ..self }
    }

    /// Sets the index document: both URLs of each page are then purged.
    pub fn with_index(self, index: Option<IndexName>) -> Self {
        Self { index, ..self }
    }

    /// The addresses of the site.
    pub fn base_urls(&self) -> &[BaseUrl] {
        &self.base_urls
    }

    /// Paths that no rule sees.
    pub fn ignore(&self) -> &[Glob] {
        &self.ignore
    }

    /// The rules, in the file's order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What happens for a path that no rule matches.
    pub fn unmatched(&self) -> Unmatched {
        self.unmatched
    }

    /// The root directories of the site, which "everything" purges.
    pub fn roots(&self) -> Vec<String> {
        self.base_urls.iter().map(BaseUrl::root).collect()
    }

    /// The targets of a changed path. A removed file is purged like a changed one, but never prefetched.
    pub fn targets(&self, path: &FilePath, kind: ChangeKind) -> Mapped<'_> {
        let mut mapped = Mapped::default();
        let decision = self.decide(path.as_bytes());
        if decision.ignored.is_some() {
            return mapped;
        }
        mapped.unmatched = !decision.hits.iter().any(|hit| hit.regex);
        for hit in &decision.hits {
            let Some(rule) = self.rules.get(hit.rule) else {
                continue;
            };
            if hit.matches() && kind.is_among(&rule.on) {
                self.fill(rule, path, kind, hit.below, &mut mapped);
                if rule.last {
                    break;
                }
            }
        }
        mapped
    }

    /// All globs, in the matcher's order.
    fn globs(&self) -> Vec<&Glob> {
        self.roles
            .iter()
            .filter_map(|role| match *role {
                Role::Ignore { glob } => self.ignore.get(glob),
                Role::Match { rule, glob } => self.rules.get(rule)?.matches.get(glob),
                Role::Except { rule, glob } => self.rules.get(rule)?.except.get(glob),
            })
            .collect()
    }

    fn decide(&self, path: &[u8]) -> Decision {
        let mut decision = Decision {
            ignored: None,
            hits: Vec::new(),
        };
        let hits = &mut decision.hits;
        let as_git_has_it = path;
        let (path, is_directory) = match path.strip_suffix(b"/") {
            Some(directory) => (directory, true),
            None => (path, false),
        };
        let mut matching = self.matcher.matches(path);
        let below = self
            .directories
            .matches(path, is_directory, &self.roles, || self.globs());
        if !below.is_empty() {
            matching.extend_from_slice(&below);
            matching.sort_unstable();
            matching.dedup();
        }
        for place in matching {
            let Some(role) = self.roles.get(place) else {
                continue;
            };
            match *role {
                Role::Ignore { glob } => {
                    decision.ignored = Some(glob);
                    return decision;
                }
                Role::Match { rule, glob } => {
                    if let Some(hit) = hit_of(hits, rule) {
                        hit.glob = hit.glob.or(Some(glob));
                        hit.below |= is_directory || below.contains(&place);
                    }
                }
                Role::Except { rule, glob } => {
                    if let Some(hit) = hit_of(hits, rule) {
                        hit.except = hit.except.or(Some(glob));
                    }
                }
            }
        }
        for place in &self.with_regex {
            let Some(rule) = self.rules.get(*place) else {
                continue;
            };
            let found = || {
                let regex = rule.regex.as_ref();
                regex.is_none_or(|regex| regex.is_match(path) || regex.is_match(as_git_has_it))
            };
            match hits.binary_search_by_key(place, |hit| hit.rule) {
                Ok(at) => {
                    let regex = found();
                    if let Some(hit) = hits.get_mut(at) {
                        hit.regex = regex;
                    }
                }
                // A rule with globs is only checked if one of them matched.
                Err(at) if rule.matches.is_empty() && found() => {
                    let below = is_directory;
                    hits.insert(
                        at,
                        Hit {
                            below,
                            ..Hit::of(*place)
                        },
                    );
                }
                Err(_) => {}
            }
        }
        // A rule for which only `except` matched did not match.
        hits.retain(|hit| {
            let rule = self.rules.get(hit.rule);
            hit.glob.is_some() || hit.regex && rule.is_some_and(|rule| rule.matches.is_empty())
        });
        decision
    }

    /// Fills a rule's templates.
    fn fill<'r>(
        &'r self,
        rule: &'r Rule,
        path: &FilePath,
        change: ChangeKind,
        as_directory: bool,
        mapped: &mut Mapped<'r>,
    ) {
        let as_git_has_it = path.as_bytes();
        let path = as_git_has_it.strip_suffix(b"/").unwrap_or(as_git_has_it);
        let regex = rule.regex.as_ref();
        let groups = regex.and_then(|regex| {
            // An expression for files in a directory may require its slash.
            let groups = regex.captures(as_git_has_it);
            groups.or_else(|| regex.captures(path))
        });
        let fields = Fields::of(path, &rule.strip).with_groups(groups.as_ref());
        let directory = as_directory.then(|| Directory::of(path, &rule.strip, groups.as_ref()));
        mapped.directory |= as_directory;
        let prefetch: &[Template] = match change {
            ChangeKind::Added | ChangeKind::Modified | ChangeKind::AddedAndModified => {
                &rule.prefetch
            }
            ChangeKind::Removed => &[],
        };
        for (kind, mode, templates) in [
            (PurgeKind::Url, None, rule.urls.as_slice()),
            (PurgeKind::Directory, rule.mode, rule.directories.as_slice()),
            (PurgeKind::Prefetch, None, prefetch),
        ] {
            for template in templates {
                let Mapped {
                    targets,
                    unmappable,
                    unmatched: _,
                    directory: _,
                } = mapped;
                let mut ask = |kind, mode, url: String| {
                    targets.push(Target {
                        rule: &rule.name,
                        kind,
                        url,
                        mode,
                        cdns: rule.cdns.as_deref(),
                    });
                };
                let index = self.index.as_ref().filter(|_| kind == PurgeKind::Url);
                let filled = match &directory {
                    None => template.fill(&self.base_urls, &fields, |url| {
                        let other = index.and_then(|index| index.other(&url));
                        ask(kind, mode, url);
                        other.into_iter().for_each(|url| ask(kind, mode, url));
                    }),
                    // The URLs of its files are not known, so they are purged with their directory, and none is
                    // prefetched.
                    Some(directory) => {
                        template.fill_directory(&self.base_urls, directory, |url, is_whole| {
                            match kind {
                                PurgeKind::Prefetch if is_whole => {}
                                PurgeKind::Url if is_whole => {
                                    ask(PurgeKind::Directory, rule.mode, url);
                                }
                                PurgeKind::Url | PurgeKind::Directory | PurgeKind::Prefetch => {
                                    ask(kind, mode, url);
                                }
                            }
                        })
                    }
                };
                if let Err(why) = filled {
                    unmappable.push(Unmappable {
                        rule: &rule.name,
                        template: template.text(),
                        why,
                    });
                }
            }
        }
    }
}
