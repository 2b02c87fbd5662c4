//! Rules: a changed path in, the URLs, directories and prefetches it asks for out.
//!
//! A rule has globs on one side and templates on the other. [`Rules`] holds
//! those of one site, compiled, so that a path is matched against all globs at once.

mod base_url;
mod encode;
mod explain;
mod fields;
mod glob;
mod matcher;
mod template;

#[cfg(test)]
mod tests;

pub use base_url::BaseUrl;
pub use explain::{Explained, Verdict};
pub use fields::Field;
pub use glob::Glob;
pub use matcher::{Matcher, Matches};
pub use template::Template;

use crate::changes::{ChangeKind, FilePath};
use crate::purge::{Mode, PurgeKind};
use fields::Fields;

/// What is wrong with a glob, a base URL or a template, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
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

/// One rule, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, unique in its site.
    pub name: String,
    /// Paths it is for: any of these,
    pub matches: Vec<Glob>,
    /// but none of these.
    pub except: Vec<Glob>,
    /// What is cut off the front of the path before the templates see it, letter for letter.
    /// A path that does not start with it stays whole.
    pub strip: String,
    /// URLs to purge.
    pub urls: Vec<Template>,
    /// Directories to purge, read by [`Template::parse_directory`].
    pub directories: Vec<Template>,
    /// URLs to fill after the purge.
    pub prefetch: Vec<Template>,
    /// How directories are purged.
    pub mode: Option<Mode>,
    /// Whether later rules are kept from seeing a path that this one matched.
    pub last: bool,
}

/// A site's rules, ready to match.
#[derive(Clone, Debug)]
pub struct Rules {
    base_urls: Vec<BaseUrl>,
    ignore: Vec<Glob>,
    rules: Vec<Rule>,
    /// Over every glob of the site: `ignore` first, then each rule's `matches` and `except`.
    matcher: Matcher,
    /// What each of the matcher's globs is for.
    roles: Vec<Role>,
}

/// What a glob is for: its rule's place among the rules, its own in its list.
#[derive(Clone, Copy, Debug)]
enum Role {
    Ignore { glob: usize },
    Match { rule: usize, glob: usize },
    Except { rule: usize, glob: usize },
}

/// What one path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'r> {
    /// The rule that asks.
    pub rule: &'r str,
    /// For what.
    pub kind: PurgeKind,
    /// The full URL; a directory's ends in `/`.
    pub url: String,
    /// For directories: how.
    pub mode: Option<Mode>,
}

/// A template that a path cannot be put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmappable<'r> {
    /// The rule that asks.
    pub rule: &'r str,
    /// The template as it was written.
    pub template: &'r str,
    /// Why there is no URL for it.
    pub why: &'static str,
}

/// What one path comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped<'r> {
    /// What it asks for, in the rules' order.
    pub targets: Vec<Target<'r>>,
    /// Templates that make no URL of it.
    pub unmappable: Vec<Unmappable<'r>>,
}

/// The globs that decide about one path, by their places.
struct Decision {
    ignored: Option<usize>,
    /// For each rule with a glob that matches, in order: the rule, the first such glob, and the
    /// first of `except` that matches too.
    hits: Vec<Hit>,
}

struct Hit {
    rule: usize,
    glob: usize,
    except: Option<usize>,
}

impl Rules {
    /// Compiles a site's rules, given in the file's order. `ignore` holds the paths that no rule sees.
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
        let matcher = Matcher::new(globs);
        Self {
            base_urls,
            ignore,
            rules,
            matcher,
            roles,
        }
    }

    /// Where the site is served.
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

    /// The root directories of the site: what "everything" means.
    pub fn roots(&self) -> Vec<String> {
        self.base_urls.iter().map(BaseUrl::root).collect()
    }

    /// What a changed path asks for. A removed file is purged as a changed one is, but never prefetched.
    pub fn targets(&self, path: &FilePath, kind: ChangeKind) -> Mapped<'_> {
        let mut mapped = Mapped::default();
        let decision = self.decide(path.as_bytes());
        if decision.ignored.is_some() {
            return mapped;
        }
        for hit in &decision.hits {
            let Some(rule) = self.rules.get(hit.rule) else {
                continue;
            };
            if hit.except.is_none() {
                self.fill(rule, path, kind, &mut mapped);
                if rule.last {
                    break;
                }
            }
        }
        mapped
    }

    fn decide(&self, path: &[u8]) -> Decision {
        let mut decision = Decision {
            ignored: None,
            hits: Vec::new(),
        };
        let matching = self.matcher.matches(path);
        for role in matching.iter().filter_map(|place| self.roles.get(*place)) {
            match *role {
                Role::Ignore { glob } => {
                    decision.ignored = Some(glob);
                    break;
                }
                Role::Match { rule, glob } => {
                    if decision.hits.last().is_none_or(|hit| hit.rule != rule) {
                        decision.hits.push(Hit {
                            rule,
                            glob,
                            except: None,
                        });
                    }
                }
                Role::Except { rule, glob } => {
                    if let Some(hit) = decision.hits.last_mut()
                        && hit.rule == rule
                        && hit.except.is_none()
                    {
                        hit.except = Some(glob);
                    }
                }
            }
        }
        decision
    }

    /// Fills a rule's templates.
    fn fill<'r>(
        &'r self,
        rule: &'r Rule,
        path: &FilePath,
        change: ChangeKind,
        mapped: &mut Mapped<'r>,
    ) {
        let fields = Fields::of(path.as_bytes(), &rule.strip);
        let prefetch: &[Template] = match change {
            ChangeKind::Added | ChangeKind::Modified => &rule.prefetch,
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
                } = mapped;
                let filled = template.fill(&self.base_urls, &fields, |url| {
                    targets.push(Target {
                        rule: &rule.name,
                        kind,
                        url,
                        mode,
                    });
                });
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
