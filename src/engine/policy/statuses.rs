//! Decides which status a commit shows if several runs have one for it.

use jiff::{SignedDuration, Timestamp};

use crate::run::{Run, RunId, RunState, StatusState};
use crate::store::{DOUBTFUL_DELAY, DRY_RUN_STATUS, StoredStatus, Write};

/// The write that shows a state on a run's commit, with the run's summary.
pub fn show(run: &Run, state: StatusState) -> Write {
    if run.dry_run {
        Write::DryStatus(run.id.clone(), state, run.summary.clone())
    } else {
        Write::Status(run.id.clone(), state, run.summary.clone())
    }
}

/// When a pending run may replace its status of time `last`: after half of the time that the run had taken by then.
/// So the first failures show at once, and many that arrive one by one need few requests.
pub fn next_text_at(created_at: Timestamp, last: Timestamp) -> Timestamp {
    let taken = last.duration_since(created_at).max(SignedDuration::ZERO);
    last + taken / 2
}

/// What to do with the newest status of a run.
#[derive(Debug, PartialEq, Eq)]
pub enum PostDecision {
    /// Post it.
    Post,
    /// Nothing: the commit has shown exactly this since that time.
    ShownSince(Timestamp),
    /// Do not post it, for this reason.
    NotPosted(String),
}

/// Whether to withhold the status of a dry run from the forge. `was_shown`: an earlier status of the run was
/// posted.
pub fn withheld(run: &Run, dry_run: bool, was_shown: bool) -> Option<PostDecision> {
    // If an earlier status was posted while the site was live, the final one is posted too, and nothing else.
    let is_withheld = dry_run && !(was_shown && run.state.is_final());
    if is_withheld {
        return Some(PostDecision::NotPosted(DRY_RUN_STATUS.to_owned()));
    }
    // The commit keeps the status of an earlier run. If a status of this run was already due, the forge may have
    // accepted it although its answer was lost.
    let first_due = run.created_at + DOUBTFUL_DELAY;
    let is_left = run.state == RunState::Superseded
        && run.covered_by.is_none()
        && run.ended_at.is_some_and(|ended_at| ended_at < first_due);
    (is_left && !was_shown).then(|| PostDecision::NotPosted(format!("not posted: {}", run.summary)))
}

/// What to do with a status that is not withheld, given all of the site's statuses on the commit.
pub fn decision(
    run: &RunId,
    wanted: &StoredStatus,
    on_commit: &[(RunId, StoredStatus)],
) -> PostDecision {
    if newest_besides(run, wanted, on_commit).is_some() {
        return PostDecision::NotPosted(
            "not sent: the commit shows the status of a newer run".to_owned(),
        );
    }
    match shown_since(run, wanted, on_commit) {
        Some(since) => PostDecision::ShownSince(since),
        None => PostDecision::Post,
    }
}

/// The last status that another run of the same site requested for the commit after this one, unless the forge
/// refused it. In the same millisecond, the newer run's counts as later.
pub fn newest_besides<'s>(
    run: &RunId,
    wanted: &StoredStatus,
    on_commit: &'s [(RunId, StoredStatus)],
) -> Option<&'s (RunId, StoredStatus)> {
    let newer = on_commit.iter().filter(|(other, status)| {
        other != run
            && (status.wanted_at, other) > (wanted.wanted_at, run)
            && status.error.is_none()
    });
    newer.max_by_key(|(other, status)| (status.wanted_at, other, status.seq))
}

/// The number of pending statuses posted on a commit since its last final one.
pub fn pending_before(on_commit: &[(RunId, StoredStatus)]) -> usize {
    let mut posted: Vec<(Timestamp, StatusState)> = on_commit
        .iter()
        .filter_map(|(_, status)| Some((status.posted_at?, status.state)))
        .collect();
    posted.sort_by_key(|(at, _)| *at);
    let pending = posted.iter().rev();
    pending
        .take_while(|(_, state)| *state == StatusState::Pending)
        .count()
}

/// Since when the commit has shown exactly this status, if it does.
fn shown_since(
    run: &RunId,
    wanted: &StoredStatus,
    on_commit: &[(RunId, StoredStatus)],
) -> Option<Timestamp> {
    let posted = on_commit
        .iter()
        .filter_map(|(run, status)| Some((status.posted_at?, run, status)));
    // Of two posted in the same millisecond, the one that was requested later was posted later.
    let (since, by, shown) = posted.max_by_key(|(posted_at, _, _)| *posted_at)?;
    let is_same =
        by == run && (shown.state, &shown.description) == (wanted.state, &wanted.description);
    is_same.then_some(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_come_one_by_one_take_few_texts() {
        let created_at = Timestamp::UNIX_EPOCH;
        let after = |seconds| created_at + SignedDuration::from_secs(seconds);
        let (mut last, mut texts) = (after(1), 0);
        for now in (2..6 * 60 * 60).map(after) {
            if now >= next_text_at(created_at, last) {
                last = now;
                texts += 1;
            }
        }

        assert!(texts < 30, "{texts}");
        assert_eq!(next_text_at(created_at, after(2)), after(3));
    }
}
