//! Covers: the cheapest mix of URLs and directories that purges everything in a plan on one CDN.
//!
//! Deleting a directory covers every URL below it, at the cost of the unchanged objects in it, which must be
//! fetched from the origin again. The prices below and the rest of the day's quotas decide which directories are
//! worth it, exactly rather than by a threshold.

mod lagrangian;
mod pareto;
mod point;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, HashSet};

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::numerals::counted;
use crate::purge::{Mode, PlannedPurge, PurgeKind};
use tree::Tree;

/// One object that did not change and must be fetched again. The other prices are in the same unit.
pub const OBJECT: u64 = 1_000;
/// One URL of the day's quota: as much as fetching it again.
pub const URL: u64 = 1_000;
/// One directory of the day's quota: a hundred URLs, since accounts start with 10,000 URLs and 100 directories
/// a day (Tencent CDN API 2018-06-06).
pub const DIRECTORY: u64 = 100_000;
/// One request, shared evenly by the targets it can take.
pub const REQUEST: u64 = 10_000;
/// What a directory that nobody has counted is taken to hold itself, besides what is wanted in it.
pub const UNCOUNTED_OBJECTS: u64 = 100;

/// Whether a site's purges are taken as its rules say, or made cheaper: the `cover:` of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Cover {
    /// As the rules say, always. What is over the day's quotas waits for the next day.
    #[default]
    Exact,
    /// As the rules say while that keeps what is left of the day's quotas, else the cheapest cover.
    OverQuota,
    /// The cheapest cover at all times.
    Cheapest,
}

impl Cover {
    /// The word in rules.yaml.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What one kind of purge may still use on a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Targets in one request.
    pub per_request: usize,
    /// Targets left today, where it is known.
    pub left: Option<u64>,
}

/// What a CDN may still be asked for today, and what is known about the site.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Whether cheaper purges may replace those the rules asked for.
    pub cover: Cover,
    /// For single URLs.
    pub urls: Allowance,
    /// For directories. None: the CDN cannot purge them.
    pub directories: Option<Allowance>,
    /// The site's root directories ([`crate::rules::Rules::roots`]). No directory outside them is ever chosen.
    pub roots: Vec<String>,
    /// Objects in a directory and below it, by its URL (which ends in `/`), where they are known.
    pub objects: BTreeMap<String, u64>,
}

impl Budget {
    /// Whether [`cover`] could choose a directory for what is wanted, whatever its directories hold.
    pub fn may_choose(&self, wanted: &[PlannedPurge]) -> bool {
        let Some(directories) = self.directories else {
            return false;
        };
        let counts = Counts::of(wanted);
        if directories.left == Some(0) && counts.directories == 0 {
            return false;
        }
        let directory = DIRECTORY + share(directories);
        // The most that one directory can stand for.
        let saved = counts.urls * (URL + share(self.urls)) + counts.directories * directory;
        match self.cover {
            Cover::Exact => false,
            Cover::OverQuota => counts.over(self) > 0,
            Cover::Cheapest => counts.over(self) > 0 || saved > directory,
        }
    }
}

/// What is to be purged instead of what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Sorted. Each wanted URL and directory is among them or below a directory that is deleted;
    /// prefetches stay as they are.
    pub purges: Vec<PlannedPurge>,
    /// What was changed and why, and what has to wait for the quota's reset.
    pub notes: Vec<String>,
}

/// What a set of purges comes to: the cover makes it as small as it can, first the overflow, then the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price {
    /// Targets over what is left of the quotas. They wait for the reset.
    pub overflow: u64,
    /// `URL` for each URL, `DIRECTORY` for each directory, their shares in `REQUEST`s, and `OBJECT` for each object
    /// that is purged but did not change.
    pub cost: u64,
}

/// The cheapest purges that cover `wanted`, which are all of one CDN, none below a directory that is to be deleted
/// (as [`super::plan`] makes them).
///
/// Minimises [`Price`]. Directories are chosen below [`Budget::roots`] only, and never more of them than are left of
/// the quota (or were wanted, if those are more). With [`Cover::OverQuota`], what is wanted stays as it is
/// while it keeps the quotas; with [`Cover::Exact`], always.
///
/// For m directories above what is wanted it takes O(m) steps where no quota binds, O(m · k²) where k directories are
/// left and only their quota binds, and at most O(m · w² log w) where the URLs' does: w is the number of ways to cover
/// a subtree that are neither worse than another in every respect nor ruled out by a bound on the whole. Of more than
/// 256 such ways some are dropped, and the price may then be a little above the least; sites of some thousand changed
/// directories get there. 100,000 changed URLs take seconds, so call it where that is no harm.
pub fn cover(wanted: &[PlannedPurge], budget: &Budget) -> Covered {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    let before = Counts::of(&wanted);
    let over = before.over(budget);
    let may_change = match budget.cover {
        Cover::Cheapest => true,
        Cover::OverQuota => over > 0,
        Cover::Exact => false,
    };
    let mut notes = Vec::new();
    let chosen = match budget.directories {
        Some(directories) if may_change => {
            Tree::of(&wanted, budget).cheapest(budget, directories, &before)
        }
        Some(_) | None => Vec::new(),
    };
    let purges = replace(wanted, &chosen, &mut notes);
    let after = Counts::of(&purges);
    if let Some(cdn) = purges.first().map(|purge| purge.cdn.as_str()) {
        if over > 0 && !notes.is_empty() {
            notes.insert(0, format!(
                "{cdn}: the rules ask for {before}, of which {over} are over what is left of today's quota, so directories are deleted instead",
            ));
        }
        let waiting = after.over(budget);
        if waiting > 0 {
            notes.push(format!(
                "{cdn}: {waiting} of {after} are over what is left of today's quota and wait for its reset"
            ));
        }
    }
    Covered { purges, notes }
}

/// How many URLs and directories there are among some purges.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    urls: u64,
    directories: u64,
}

impl Counts {
    fn of(purges: &[PlannedPurge]) -> Self {
        let mut counts = Self::default();
        for purge in purges {
            match purge.kind {
                PurgeKind::Url => counts.urls += 1,
                PurgeKind::Directory => counts.directories += 1,
                PurgeKind::Prefetch => {}
            }
        }
        counts
    }

    /// Targets over what is left.
    fn over(&self, budget: &Budget) -> u64 {
        let directories = budget.directories.and_then(|allowance| allowance.left);
        over(self.urls, budget.urls.left) + over(self.directories, directories)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = |count, one, many| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let parts = [
            counted(self.urls, "URL", "URLs"),
            counted(self.directories, "directory", "directories"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(" and "))
    }
}

fn over(count: u64, left: Option<u64>) -> u64 {
    left.map_or(0, |left| count.saturating_sub(left))
}

/// What one target costs of the requests it shares.
fn share(allowance: Allowance) -> u64 {
    REQUEST / (allowance.per_request.max(1) as u64)
}

/// How many directories are named in the notes; of the others, how many there are.
const NAMED: usize = 10;

/// Deletes the chosen directories, and leaves out what they cover. Each gets the rule and path of the first it covers.
fn replace(
    wanted: Vec<PlannedPurge>,
    chosen: &[String],
    notes: &mut Vec<String>,
) -> Vec<PlannedPurge> {
    if chosen.is_empty() {
        return wanted;
    }
    let deleted: HashSet<&str> = chosen.iter().map(String::as_str).collect();
    let mut covered: BTreeMap<&str, (PlannedPurge, usize)> = BTreeMap::new();
    let mut purges = Vec::new();
    for purge in wanted {
        let directory = match purge.kind {
            PurgeKind::Url | PurgeKind::Directory => {
                directories_above(&purge.target).find_map(|above| deleted.get(above).copied())
            }
            PurgeKind::Prefetch => None,
        };
        let Some(directory) = directory else {
            purges.push(purge);
            continue;
        };
        covered.entry(directory).or_insert_with(|| (purge, 0)).1 += 1;
    }
    for (count, (directory, (first, targets))) in covered.into_iter().enumerate() {
        if count < NAMED {
            let purges = counted(targets, "purge", "purges");
            notes.push(format!(
                "{}: deleting {directory} stands for {purges} that the rules ask for",
                first.cdn
            ));
        }
        purges.push(PlannedPurge {
            kind: PurgeKind::Directory,
            target: directory.to_owned(),
            mode: Some(Mode::Delete),
            ..first
        });
    }
    if chosen.len() > NAMED {
        notes.push(format!("and {} directories more", chosen.len() - NAMED));
    }
    purges.sort();
    purges
}

/// The directories that hold a target, outermost first, the target itself included where it ends in `/`.
/// A URL's query is not part of its path.
pub(super) fn directories_above(target: &str) -> impl Iterator<Item = &str> {
    let host = target.find("://").map_or(0, |scheme| scheme + 3);
    let path = target.find('?').unwrap_or(target.len());
    target
        .match_indices('/')
        .map(|(index, _)| index)
        .filter(move |index| (host..path).contains(index))
        .filter_map(|index| target.get(..=index))
}
