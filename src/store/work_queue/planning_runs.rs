//! Selects which run of a site plans next. A site's runs plan one at a time, since two plans at once would make each
//! other outdated.
//!
//! The newest run plans, since its step does the work of the others. If an older one planned, its step would leave the
//! work to the newest, which then had to wait for its own turn: while pushes keep arriving, there would always be a
//! newer one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::fair_selection::Candidate;
use super::key::{WorkKey, forge_key};
use crate::run::{Arrival, Run, RunId};
use crate::store::database::{Transaction, in_list, params};
use crate::store::{StoreError, runs};

/// For some of the runs that have not planned yet, the newest such run of their sites that is due at `$1`. Reads a site's
/// runs from the newest on.
const NEWEST: &str = "SELECT oldest.id AS oldest, (
        SELECT runs.id FROM runs JOIN work
            ON work.kind = 'run' AND work.subject = runs.id AND work.purge_kind = ''
        WHERE runs.site = oldest.site AND runs.state = 'pending' AND runs.step = 'changes'
            AND work.due_at <= $1 AND (work.lease IS NULL OR work.lease_until <= $1)
        ORDER BY runs.id DESC LIMIT 1) AS newest
    FROM runs AS oldest";

/// What may be claimed.
pub(super) struct Next {
    /// With one run at most of each site that has not planned yet.
    pub candidates: Vec<Candidate>,
    /// Those of these runs that come before a newer one of their site.
    pub before_newer: BTreeSet<RunId>,
}

/// Leaves one of the runs of each site that have not planned yet: the newest, or the oldest if the newest does not do
/// its work. Leaves none of a site that is planning.
pub(super) async fn one_run_per_site(
    tx: &mut dyn Transaction,
    now: Timestamp,
    mut candidates: Vec<Candidate>,
    planning: &BTreeSet<String>,
) -> Result<Next, StoreError> {
    let mut by_site: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for candidate in &candidates {
        if let Some(run) = candidate.unplanned_run() {
            let runs = by_site.entry(candidate.site.clone()).or_default();
            runs.push(run.to_owned());
        }
    }
    by_site.retain(|site, _| !planning.contains(site));
    let several = by_site.values().filter(|runs| runs.len() > 1);
    let pairs = pairs(tx, now, several.filter_map(|runs| runs.iter().min())).await?;
    let oldest = by_site.values().filter_map(|runs| runs.iter().min());
    let oldest: BTreeSet<&str> = oldest.map(String::as_str).collect();
    let mut before_newer = BTreeSet::new();
    candidates.retain_mut(|candidate| {
        let Some(run) = candidate.unplanned_run() else {
            return true;
        };
        if !oldest.contains(run) {
            return false;
        }
        let Some(Pair { oldest, newest }) = pairs.get(run) else {
            return true;
        };
        if goes_first(newest, oldest) {
            // It has the turn of the oldest.
            candidate.key = WorkKey::Run(newest.id.clone()).columns();
            candidate.concurrency_key = Some(forge_key(&newest.forge));
        } else {
            before_newer.insert(oldest.id.clone());
        }
        true
    });
    Ok(Next {
        candidates,
        before_newer,
    })
}

/// The oldest and the newest run of a site that have not planned yet.
struct Pair {
    oldest: Run,
    newest: Run,
}

/// The pairs of these oldest runs, by their ids.
async fn pairs<'r>(
    tx: &mut dyn Transaction,
    now: Timestamp,
    oldest: impl Iterator<Item = &'r String>,
) -> Result<BTreeMap<String, Pair>, StoreError> {
    let oldest: Vec<&String> = oldest.collect();
    if oldest.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut values = params![now.as_millisecond()];
    let listed = in_list(&mut values, oldest);
    let sql = format!("{NEWEST} WHERE oldest.id IN ({listed})");
    let mut ids = Vec::new();
    for row in tx.query(&sql, values).await? {
        if let Some(newest) = row.maybe_text("newest")? {
            ids.push((RunId(row.text("oldest")?), RunId(newest)));
        }
    }
    ids.retain(|(oldest, newest)| oldest < newest);
    let both = ids.iter().flat_map(|(oldest, newest)| [oldest, newest]);
    let runs = runs::readable(tx, both).await?;
    let pairs = ids.into_iter().filter_map(|(oldest, newest)| {
        let pair = Pair {
            oldest: runs.get(&oldest)?.clone(),
            newest: runs.get(&newest)?.clone(),
        };
        Some((oldest.0, pair))
    });
    Ok(pairs.collect())
}

/// Whether the newest run comes before the oldest: its step does the work of the oldest, or finds out its own commit, so
/// that it can do so later.
fn goes_first(newest: &Run, oldest: &Run) -> bool {
    let is_resolved = newest.commit.id().is_some();
    let takes_over = newest.arrival != Arrival::Repeated
        && oldest.arrival != Arrival::Repeated
        && oldest.can_be_superseded();
    !is_resolved || takes_over
}
