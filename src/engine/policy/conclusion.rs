//! Decides how a run ends once all of its purges have ended.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::summary;
use crate::numerals::counted;
use crate::purge::{GivenUp, Purge, PurgeState};
use crate::run::{Run, RunState, StatusState};
use crate::store::Failures;

/// The state in which a run ends, and its summary.
pub fn conclusion(run: &Run, purges: &[Purge]) -> (RunState, String) {
    let failed: Vec<&Purge> = purges
        .iter()
        .filter(|purge| purge.state == PurgeState::Failed && !is_skipped(purge))
        .collect();
    let (dry, others): (Vec<&Purge>, Vec<&Purge>) = purges
        .iter()
        .partition(|purge| purge.state == PurgeState::DryRun);
    match (most_frequent(&failed), run.problems.first()) {
        (None, _) if !dry.is_empty() => {
            let of = |purges: &[&Purge]| summary::purges(purges.iter().map(|purge| &purge.planned));
            let stopped = format!(
                "The site is in dry-run mode by now: {} would have been purged",
                of(&dry)
            );
            let summary = if others.is_empty() {
                stopped
            } else {
                format!("{stopped}; purged before that: {}", of(&others))
            };
            (RunState::Cancelled, summary)
        }
        (Some(failures), _) => {
            let summary = summary::failure(&failures, purges.len());
            (RunState::Failed, summary)
        }
        (None, Some(problem)) => {
            let targets = counted(run.problems.len(), "target", "targets");
            let summary = format!("{targets} could not be purged: {problem}");
            (RunState::Failed, summary)
        }
        (None, None) => {
            let (skipped, done): (Vec<&Purge>, Vec<&Purge>) =
                purges.iter().partition(|purge| is_skipped(purge));
            let of = |purges: &[&Purge]| summary::purges(purges.iter().map(|purge| &purge.planned));
            let summary = match (done.is_empty(), skipped.is_empty()) {
                (_, true) => format!("Purged {}", of(&done)),
                (true, false) => format!("Skipped {}", of(&skipped)),
                (false, false) => format!("Purged {}; skipped {}", of(&done), of(&skipped)),
            };
            (RunState::Succeeded, summary)
        }
    }
}

/// The number of failed purges and their most frequent reason; the first one if several are equally frequent.
fn most_frequent(failed: &[&Purge]) -> Option<Failures> {
    let mut reasons: BTreeMap<&str, (usize, &Purge)> = BTreeMap::new();
    for purge in failed {
        let why = purge.error.as_deref().unwrap_or(Failures::NO_REASON);
        reasons.entry(why).or_insert((0, *purge)).0 += 1;
    }
    let reasons = reasons.into_iter();
    let (why, (_, first)) =
        reasons.max_by_key(|(_, (count, first))| (*count, Reverse(first.id)))?;
    Some(Failures {
        count: u64::try_from(failed.len()).unwrap_or(u64::MAX),
        why: why.to_owned(),
        first: first.planned.clone(),
    })
}

/// Whether a person skipped this purge.
fn is_skipped(purge: &Purge) -> bool {
    purge.given_up == Some(GivenUp::Skipped)
}

/// The status for a run's state.
pub fn shown(state: RunState) -> StatusState {
    match state {
        RunState::Succeeded => StatusState::Success,
        RunState::Failed => StatusState::Failure,
        RunState::Errored | RunState::Superseded | RunState::Cancelled | RunState::Pending => {
            StatusState::Error
        }
    }
}
