//! Explains for one path what each rule does with it, and why.

use std::fmt;

use super::{Glob, Hit, Mapped, PathRegex, Rule, Rules};
use crate::changes::{ChangeKind, FilePath};

/// The result of one rule for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained<'r> {
    /// The rule.
    pub rule: &'r str,
    /// Whether it matched, and why.
    pub verdict: RuleVerdict<'r>,
    /// The path's targets under the rule; empty if it did not match.
    pub mapped: Mapped<'r>,
}

/// Whether a rule matched, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleVerdict<'r> {
    /// It matched.
    Matched {
        /// The first of its globs that matches; its expression if it has no globs.
        by: &'r str,
    },
    /// It matches the path, but not this kind of change.
    OtherChange {
        /// The glob or expression that matched.
        by: &'r str,
        /// The change.
        change: ChangeKind,
    },
    /// One of its globs matches, but its expression does not.
    NotFound {
        /// The first of its globs that matches.
        glob: &'r str,
        /// The expression.
        regex: &'r str,
    },
    /// It matches, but so does a glob in `except:`.
    Excepted {
        /// The glob or expression that matched.
        by: &'r str,
        /// The first matching glob in `except:`.
        except: &'r str,
    },
    /// None of its globs matches, and neither does its expression if it has no globs.
    NoMatch,
    /// The site's `ignore:` excluded the path.
    Ignored {
        /// The first matching glob in `ignore:`.
        glob: &'r str,
    },
    /// An earlier matching rule has `last: true`.
    AfterLast {
        /// That rule.
        rule: &'r str,
    },
}

impl fmt::Display for RuleVerdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matched { by } => write!(f, "fires: matched by `{by}`"),
            Self::OtherChange { by, change } => write!(
                f,
                "does not fire: matched by `{by}`, but `on:` leaves out `{}`",
                change.as_str()
            ),
            Self::NotFound { glob, regex } => write!(
                f,
                "does not fire: matched by `{glob}`, but not by `{regex}`"
            ),
            Self::Excepted { by, except } => write!(
                f,
                "does not fire: matched by `{by}`, but excepted by `{except}`"
            ),
            Self::NoMatch => f.write_str("does not fire: it does not match"),
            Self::Ignored { glob } => {
                write!(f, "does not fire: the site ignores the path, by `{glob}`")
            }
            Self::AfterLast { rule } => write!(
                f,
                "does not fire: the rule `{rule}` before it says `last: true`"
            ),
        }
    }
}

impl Rules {
    /// The result of each rule, in order, for a path that changed in this way.
    pub fn explain(&self, path: &FilePath, change: ChangeKind) -> Vec<Explained<'_>> {
        let decision = self.decide(path.as_bytes());
        let ignored = decision.ignored.and_then(|glob| self.ignore.get(glob));
        let mut hits = decision.hits.iter().peekable();
        let mut last = None;
        let mut explained = Vec::with_capacity(self.rules.len());
        for (place, rule) in self.rules.iter().enumerate() {
            let hit = hits.next_if(|hit| hit.rule == place);
            let verdict = match (ignored, last, hit) {
                (Some(ignored), ..) => RuleVerdict::Ignored {
                    glob: ignored.text(),
                },
                (None, Some(rule), _) => RuleVerdict::AfterLast { rule },
                (None, None, None) => RuleVerdict::NoMatch,
                (None, None, Some(hit)) => verdict(rule, hit, change),
            };
            let mut mapped = Mapped::default();
            if let RuleVerdict::Matched { .. } = verdict {
                let below = hit.is_some_and(|hit| hit.below);
                self.fill(rule, path, change, below, &mut mapped);
                last = rule.last.then_some(rule.name.as_str());
            }
            explained.push(Explained {
                rule: &rule.name,
                verdict,
                mapped,
            });
        }
        explained
    }
}

/// The verdict of a rule that a glob or expression matched.
fn verdict<'r>(rule: &'r Rule, hit: &Hit, change: ChangeKind) -> RuleVerdict<'r> {
    let glob = hit.glob.and_then(|glob| rule.matches.get(glob));
    let regex = rule.regex.as_ref().map_or("", PathRegex::text);
    let by = glob.map_or(regex, Glob::text);
    let except = hit.except.and_then(|except| rule.except.get(except));
    match except {
        _ if !hit.regex => RuleVerdict::NotFound { glob: by, regex },
        Some(except) => RuleVerdict::Excepted {
            by,
            except: except.text(),
        },
        None if !change.is_among(&rule.on) => RuleVerdict::OtherChange { by, change },
        None => RuleVerdict::Matched { by },
    }
}
