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

/// The price of an unchanged object that must be fetched again. The other prices are in the same unit.
pub const OBJECT: u64 = 1_000;
/// The price of one URL of the day's quota: the same as fetching it again.
pub const URL: u64 = 1_000;
/// The price of one directory of the day's quota: that of a hundred URLs, since new accounts have 10,000 URLs and
/// 100 directories per day (Tencent CDN API 2018-06-06).
pub const DIRECTORY: u64 = 100_000;
/// The price of one request, shared evenly by the targets that fit into it.
pub const REQUEST: u64 = 10_000;
/// The assumed number of objects in an uncounted directory, in addition to the wanted ones.
pub const UNCOUNTED_OBJECTS: u64 = 100;

/// Whether a site's purges stay as its rules say, or may be replaced by cheaper ones: a site's `cover:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Cover {
    /// As the rules say. What exceeds the day's quotas waits for the next day.
    #[default]
    Exact,
    /// As the rules say while that fits into the rest of the day's quotas, otherwise the cheapest cover.
    OverQuota,
    /// Always the cheapest cover.
    Cheapest,
}

impl Cover {
    /// Its name in rules.yaml.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The rest of a CDN's limits for one kind of purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Targets per request.
    pub per_request: usize,
    /// Targets left today, if known.
    pub left: Option<u64>,
}

/// What a CDN may still purge today, and what is known about the site.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Whether cheaper purges may replace those that the rules require.
    pub cover: Cover,
    /// The limits for URLs.
    pub urls: Allowance,
    /// The limits for directories. None if the CDN cannot purge them.
    pub directories: Option<Allowance>,
    /// The site's root directories ([`crate::rules::Rules::roots`]). Directories outside them are never chosen.
    pub roots: Vec<String>,
    /// The number of objects in and below a directory, by its URL (which ends in `/`), as far as known.
    pub objects: BTreeMap<String, u64>,
}

impl Budget {
    /// Whether [`cover`] could choose a directory, whatever the number of objects in it.
    pub fn may_choose(&self, wanted: &[PlannedPurge]) -> bool {
        let Some(directories) = self.directories else {
            return false;
        };
        let counts = Counts::of(wanted);
        if directories.left == Some(0) && counts.directories == 0 {
            return false;
        }
        let directory = DIRECTORY + share(directories);
        // The most that one directory can save.
        let saved = counts.urls * (URL + share(self.urls)) + counts.directories * directory;
        match self.cover {
            Cover::Exact => false,
            Cover::OverQuota => counts.over(self) > 0,
            Cover::Cheapest => counts.over(self) > 0 || saved > directory,
        }
    }
}

/// The purges that replace the wanted ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Sorted. Each wanted URL and directory is among them or below a deleted directory; prefetches are unchanged.
    pub purges: Vec<PlannedPurge>,
    /// What was changed and why, and what has to wait for the quota's renewal.
    pub notes: Vec<String>,
}

/// The price of a set of purges. The cover minimises first the overflow, then the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price {
    /// Targets beyond the rest of the quotas, which wait for the renewal.
    pub overflow: u64,
    /// `URL` for each URL, `DIRECTORY` for each directory, their shares in `REQUEST`s, and `OBJECT` for each object
    /// that is purged but did not change.
    pub cost: u64,
}

/// The cheapest purges that cover `wanted`. These must all be for one CDN, with none below a directory to be
/// deleted (as [`super::plan`] makes them).
///
/// Minimises [`Price`]. Chooses only directories below [`Budget::roots`], and never more than are left of the quota
/// (or were wanted, if those are more). With [`Cover::OverQuota`], the wanted purges are unchanged while they fit
/// into the quotas; with [`Cover::Exact`], always.
///
/// For m directories above the wanted targets, it takes O(m) steps if no quota is binding, O(m · k²) if k
/// directories are left and only their quota is binding, and at most O(m · w² log w) if the URL quota is. Here w is
/// the number of ways to cover a subtree that no other way beats in every respect and that no bound on the whole
/// excludes. Beyond 256 such ways some are dropped, and the price may be slightly above the minimum; this happens
/// on sites with some thousand changed directories. 100,000 changed URLs take seconds, so call it where blocking is
/// acceptable.
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

/// The number of URLs and directories among some purges.
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

    /// Targets beyond the rest of the quotas.
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

/// The cost of one target's share of a request.
fn share(allowance: Allowance) -> u64 {
    REQUEST / (allowance.per_request.max(1) as u64)
}

/// How many directories the notes name; further ones are only counted.
const NAMED: usize = 10;

/// Deletes the chosen directories and removes the purges that they cover. Each gets the rule and path of the first
/// of these.
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

/// The directories that contain a target, outermost first, including the target itself if it ends in `/`. A URL's
/// query is not part of its path.
pub(super) fn directories_above(target: &str) -> impl Iterator<Item = &str> {
    let host = target.find("://").map_or(0, |scheme| scheme + 3);
    let path = target.find('?').unwrap_or(target.len());
    target
        .match_indices('/')
        .map(|(index, _)| index)
        .filter(move |index| (host..path).contains(index))
        .filter_map(|index| target.get(..=index))
}
