//! Explanations: for one path, what each rule makes of it and why.

use std::fmt;

use super::{Mapped, Rules};
use crate::changes::{ChangeKind, FilePath};

/// What one rule makes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained<'r> {
    /// The rule.
    pub rule: &'r str,
    /// Whether it fired, and why.
    pub verdict: Verdict<'r>,
    /// What the path asks for under it, were the file changed; nothing where the rule did not fire.
    pub mapped: Mapped<'r>,
}

/// Whether a rule fired, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// It fired.
    Matched {
        /// The first of its globs that matches.
        glob: &'r str,
    },
    /// One of its globs matches, but so does one under `except:`.
    Excepted {
        /// The first of its globs that matches.
        glob: &'r str,
        /// The first under `except:` that does.
        except: &'r str,
    },
    /// None of its globs matches.
    NoMatch,
    /// It never saw the path: the site's `ignore:` took it.
    Ignored {
        /// The first glob under `ignore:` that matches.
        glob: &'r str,
    },
    /// It never saw the path: an earlier rule fired that says `last: true`.
    AfterLast {
        /// That rule.
        rule: &'r str,
    },
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matched { glob } => write!(f, "fires: matched by `{glob}`"),
            Self::Excepted { glob, except } => write!(
                f,
                "does not fire: matched by `{glob}`, but excepted by `{except}`"
            ),
            Self::NoMatch => f.write_str("does not fire: none of its globs match"),
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
    /// What each rule, in order, makes of a path.
    pub fn explain(&self, path: &FilePath) -> Vec<Explained<'_>> {
        let decision = self.decide(path.as_bytes());
        let ignored = decision.ignored.and_then(|glob| self.ignore.get(glob));
        let mut hits = decision.hits.iter().peekable();
        let mut last = None;
        let mut explained = Vec::with_capacity(self.rules.len());
        for (place, rule) in self.rules.iter().enumerate() {
            let hit = hits.next_if(|hit| hit.rule == place);
            let glob = hit.and_then(|hit| rule.matches.get(hit.glob));
            let except = hit.and_then(|hit| rule.except.get(hit.except?));
            let verdict = match (ignored, last, glob, except) {
                (Some(ignored), ..) => Verdict::Ignored {
                    glob: ignored.text(),
                },
                (None, Some(rule), ..) => Verdict::AfterLast { rule },
                (None, None, None, _) => Verdict::NoMatch,
                (None, None, Some(glob), Some(except)) => Verdict::Excepted {
                    glob: glob.text(),
                    except: except.text(),
                },
                (None, None, Some(glob), None) => Verdict::Matched { glob: glob.text() },
            };
            let mut mapped = Mapped::default();
            if let Verdict::Matched { .. } = verdict {
                self.fill(rule, path, ChangeKind::Modified, &mut mapped);
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
