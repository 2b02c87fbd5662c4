//! Plans: the purges for a change set under a site's rules.
//!
//! Planning is pure and independent of any order: the same paths under the same rules make the same plan.

mod cover;
mod decide;
mod input;
mod listings;
mod objects;
mod show;
mod summary;

#[cfg(test)]
mod tests;

pub use cover::{Allowance, Budget, Cover, Covered, Price, cover};
pub use decide::{Change, CoverDecision, Decision, Draft, Uncovered, decide};
pub use input::{InputError, RawEntry, read_files, read_path};
pub use objects::Objects;
pub use summary::{Ceiling, Load, Wait, loads_to_json, loads_to_text};

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::changes::{ChangeKind, FilePath};
use crate::numerals::{agreeing, counted};
use crate::purge::{Mode, PlannedPurge, PurgeKind};
use crate::rules::{Rules, Unmatched};

/// What one CDN of the site supports.
#[derive(Clone, Debug)]
pub struct Capability {
    /// Its name under `cdns:`.
    pub cdn: String,
    /// The kinds of purges that it supports.
    pub kinds: Vec<PurgeKind>,
    /// The maximum length of a URL in bytes, if there is one.
    pub url_length: Option<usize>,
}

/// The purges for a change set, each with the first rule and path that require it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sorted, without duplicates of (CDN, kind, target).
    pub purges: Vec<PlannedPurge>,
    /// What must be purged but cannot be, such as a URL over a CDN's limit; the run fails because of it.
    pub problems: Vec<Problem>,
    /// Other remarks: a prefetch that a CDN does not support, a purge that another one covers.
    pub notes: Vec<String>,
}

/// A target that must be purged but cannot be requested from a CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// The full URL; that of a directory ends in `/`.
    pub target: String,
    /// The reason, with the target and the rule that requires it.
    pub words: String,
}

/// The rule name of purges of everything.
const EVERYTHING: &str = "everything";
/// How many paths a note names; further ones are only counted.
const PATHS_NAMED: usize = 5;

impl Plan {
    /// Whether [`covered`](Self::covered) could change the plan, whatever the number of objects in directories. If
    /// not, these need not be counted.
    fn may_be_covered(&self, budgets: &BTreeMap<String, Budget>) -> bool {
        let mut by_cdn = self.purges.chunk_by(|one, next| one.cdn == next.cdn);
        by_cdn.any(|purges| {
            let budget = purges.first().and_then(|first| budgets.get(&first.cdn));
            budget.is_some_and(|budget| budget.may_choose(purges))
        })
    }

    /// The plan with each CDN's purges covered as its budget allows. `objects` takes precedence over the numbers in
    /// the budgets. A CDN without a budget keeps its purges.
    fn covered(self, mut budgets: BTreeMap<String, Budget>, objects: Objects) -> Self {
        let Self {
            purges,
            problems,
            mut notes,
        } = self;
        notes.extend(objects.note());
        let objects = objects.by_directory();
        for budget in budgets.values_mut() {
            budget.objects.extend(objects.clone());
        }
        let mut covered = Vec::new();
        for purges in purges.chunk_by(|one, next| one.cdn == next.cdn) {
            match purges.first().and_then(|first| budgets.get(&first.cdn)) {
                Some(budget) => {
                    let cover = cover(purges, budget);
                    covered.extend(cover.purges);
                    notes.extend(cover.notes);
                }
                None => covered.extend_from_slice(purges),
            }
        }
        Self {
            purges: covered,
            problems,
            notes,
        }
    }
}

/// One target, for any CDN.
#[derive(Clone)]
struct Wanted<'a> {
    kind: PurgeKind,
    url: String,
    mode: Option<Mode>,
    rule: &'a str,
    path: Option<&'a FilePath>,
    /// The CDNs it is for; none: all.
    cdns: Option<&'a [String]>,
}

impl Wanted<'_> {
    fn goes_to(&self, cdn: &Capability) -> bool {
        self.cdns.is_none_or(|cdns| cdns.contains(&cdn.cdn))
    }
}

/// The plan for a complete change set.
///
/// A directory with mode `delete` covers the URLs and directories below it on the same CDN, which are omitted. One
/// with `flush`, or without a mode, covers nothing, since it may skip objects that the origin does not report as
/// changed. If two rules require the same directory, `delete` wins. Prefetches are always kept.
pub fn plan(rules: &Rules, cdns: &[Capability], files: &BTreeMap<FilePath, ChangeKind>) -> Plan {
    let mut notes = BTreeSet::new();
    let mut wanted = Vec::new();
    let mut unmatched = Vec::new();
    let mut directories = Vec::new();
    for (path, kind) in files {
        let mapped = rules.targets(path, *kind);
        if mapped.directory {
            directories.push(path);
        }
        if mapped.unmatched {
            unmatched.push(path);
            let as_file = path.as_bytes().strip_suffix(b"/").map(FilePath::new);
            // A link also exists as a file.
            if as_file.is_some_and(|file| !files.contains_key(&file)) {
                notes.insert(format!(
                    "no rule is for {path:?}, which is a directory that git has as one entry (a submodule or a link)"
                ));
            }
        }
        for target in mapped.targets {
            wanted.push(Wanted {
                kind: target.kind,
                url: target.url,
                mode: target.mode,
                rule: target.rule,
                path: Some(path),
                cdns: target.cdns,
            });
        }
        for unmappable in mapped.unmappable {
            notes.insert(format!(
                "the path {path:?} has no URL under `{}` of the rule {}: {}",
                unmappable.template, unmappable.rule, unmappable.why
            ));
        }
    }
    // A directory both named by a push and known from the trees occurs twice.
    directories.retain(|path: &&FilePath| {
        let known = FilePath::new([path.as_bytes(), b"/"].concat());
        path.as_bytes().ends_with(b"/") || !files.contains_key(&known)
    });
    if !directories.is_empty() {
        let (is, it) = match directories.as_slice() {
            [_] => ("is a directory that git has as one entry", "it"),
            _ => ("are directories that git has as one entry each", "them"),
        };
        notes.insert(format!(
            "{} {is} (a submodule or a link): what changed in {it} is not told, and the rules for what lies in {it} fire",
            named(&directories)
        ));
    }
    if let Some(first) = unmatched.first() {
        match rules.unmatched() {
            Unmatched::Ignore => {}
            Unmatched::Warn => {
                notes.insert(format!("no rule is for {}", named(&unmatched)));
            }
            Unmatched::Everything => {
                wanted.extend(everything(rules, Some(first)));
                let paths = named(&unmatched);
                notes.insert(format!("purging everything: no rule is for {paths}"));
            }
        }
    }
    let mut plan = spread(wanted, cdns);
    plan.notes.splice(0..0, notes);
    plan
}

/// Paths for a note: the first few by name, the rest as a number.
fn named(paths: &[&FilePath]) -> String {
    let mut words: Vec<String> = paths
        .iter()
        .take(PATHS_NAMED)
        .map(|path| format!("{path:?}"))
        .collect();
    let more = paths.len().saturating_sub(PATHS_NAMED);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

/// The site's root directories, deleted.
fn everything<'a>(
    rules: &'a Rules,
    path: Option<&'a FilePath>,
) -> impl Iterator<Item = Wanted<'a>> {
    rules.roots().into_iter().map(move |url| Wanted {
        kind: PurgeKind::Directory,
        url,
        mode: Some(Mode::Delete),
        rule: EVERYTHING,
        path,
        cdns: None,
    })
}

/// The plan for `when_unknown: everything`: the site's root directories, deleted on every CDN.
fn plan_everything(rules: &Rules, cdns: &[Capability], why: &str) -> Plan {
    let mut plan = spread(everything(rules, None).collect(), cdns);
    plan.notes.insert(0, format!("purging everything: {why}"));
    plan
}

/// Assigns each CDN the targets that it supports, and reports the others.
fn spread(wanted: Vec<Wanted<'_>>, cdns: &[Capability]) -> Plan {
    let mut cdns: Vec<&Capability> = cdns.iter().collect();
    cdns.sort_by(|a, b| a.cdn.cmp(&b.cdn));
    cdns.dedup_by(|a, b| a.cdn == b.cdn);

    let mut plan = Plan::default();
    for cdn in cdns {
        let mine = wanted.iter().filter(|wanted| wanted.goes_to(cdn)).cloned();
        let (able, unable): (Vec<Wanted<'_>>, Vec<Wanted<'_>>) = each_once(mine.collect())
            .into_iter()
            .partition(|wanted| inability(cdn, wanted).is_none());
        report_unable(cdn, &unable, &mut plan);

        let deleted: HashSet<String> = able
            .iter()
            .filter(|wanted| wanted.mode == Some(Mode::Delete))
            .map(|wanted| wanted.url.clone())
            .collect();
        let mut covered: BTreeMap<&str, usize> = BTreeMap::new();
        for wanted in able {
            if let Some(directory) = covering(&wanted, &deleted) {
                *covered.entry(directory).or_default() += 1;
                continue;
            }
            plan.purges.push(PlannedPurge {
                cdn: cdn.cdn.clone(),
                kind: wanted.kind,
                target: wanted.url,
                mode: wanted.mode,
                rule: wanted.rule.to_owned(),
                path: wanted.path.map(ToString::to_string),
            });
        }
        for (directory, count) in covered {
            let purges = agreeing(count, "purge", "purges");
            plan.notes.push(format!(
                "{}: deleting {directory} covers {count} more {purges}",
                cdn.cdn
            ));
        }
    }
    plan
}

/// Sorts by kind and target, and keeps the first of equal targets.
fn each_once(mut wanted: Vec<Wanted<'_>>) -> Vec<Wanted<'_>> {
    // The sort is stable, so equal targets stay in their order.
    wanted.sort_by(|a, b| (a.kind, &a.url).cmp(&(b.kind, &b.url)));
    wanted.dedup_by(|later, first| {
        let same = later.kind == first.kind && later.url == first.url;
        if same {
            // None < Flush < Delete: the mode that invalidates more wins.
            first.mode = first.mode.max(later.mode);
        }
        same
    });
    wanted
}

/// Why a CDN cannot purge a target.
enum Inability {
    Kind,
    TooLong { limit: usize },
}

fn inability(cdn: &Capability, wanted: &Wanted<'_>) -> Option<Inability> {
    if !cdn.kinds.contains(&wanted.kind) {
        return Some(Inability::Kind);
    }
    let limit = cdn.url_length?;
    (wanted.url.len() > limit).then_some(Inability::TooLong { limit })
}

/// An impossible purge is a problem; an impossible prefetch leaves no cache stale, so it is only a note.
fn report_unable(cdn: &Capability, unable: &[Wanted<'_>], plan: &mut Plan) {
    let mut prefetches = 0;
    for wanted in unable {
        let Wanted {
            kind,
            url,
            mode: _,
            rule,
            path,
            cdns: _,
        } = wanted;
        let asked = match path {
            Some(path) => format!("rule {rule}, {path}"),
            None => format!("rule {rule}"),
        };
        let cdn_name = &cdn.cdn;
        let problem = |words| Problem {
            cdn: cdn_name.clone(),
            kind: *kind,
            target: url.clone(),
            words,
        };
        match (inability(cdn, wanted), kind) {
            (None, _) => {}
            (Some(Inability::Kind), PurgeKind::Prefetch) => prefetches += 1,
            (Some(Inability::Kind), PurgeKind::Url) => plan.problems.push(problem(format!(
                "{cdn_name} cannot purge single URLs: {url} ({asked})"
            ))),
            (Some(Inability::Kind), PurgeKind::Directory) => plan.problems.push(problem(format!(
                "{cdn_name} cannot purge directories: {url} ({asked})"
            ))),
            (Some(Inability::TooLong { limit }), kind) => {
                let words = format!(
                    "{cdn_name} takes URLs of up to {limit} bytes, and this one has {}: {url} ({asked})",
                    url.len()
                );
                match kind {
                    PurgeKind::Url | PurgeKind::Directory => {
                        plan.problems.push(problem(words));
                    }
                    PurgeKind::Prefetch => plan.notes.push(words),
                }
            }
        }
    }
    if prefetches > 0 {
        let them = counted(prefetches, "prefetch is", "prefetches are");
        plan.notes
            .push(format!("{} cannot prefetch: {them} left out", cdn.cdn));
    }
}

/// The outermost deleted directory that contains a purge, if any.
fn covering<'d>(wanted: &Wanted<'_>, deleted: &'d HashSet<String>) -> Option<&'d str> {
    match wanted.kind {
        PurgeKind::Prefetch => return None,
        PurgeKind::Url | PurgeKind::Directory => {}
    }
    if deleted.is_empty() {
        return None;
    }
    let path = wanted.url.find('?').unwrap_or(wanted.url.len());
    wanted
        .url
        .char_indices()
        .take_while(|(index, _)| *index < path)
        .filter(|(_, c)| *c == '/')
        .filter_map(|(index, _)| wanted.url.get(..=index))
        .filter(|above| wanted.kind == PurgeKind::Url || above.len() < wanted.url.len())
        .find_map(|above| deleted.get(above).map(String::as_str))
}
