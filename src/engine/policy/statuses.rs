//! Which status a commit is to show, where several runs want it to show one.

use jiff::{SignedDuration, Timestamp};

use crate::run::{Run, RunId, StatusState};
use crate::store::{DRY_RUN_STATUS, StoredStatus, Write};

/// The write that has a run's commit show a state, with its summary.
pub fn show(run: &Run, state: StatusState) -> Write {
    if run.dry_run {
        Write::DryStatus(run.id.clone(), state, run.summary.clone())
    } else {
        Write::Status(run.id.clone(), state, run.summary.clone())
    }
}

/// When a run that goes on may have its commit show another text, after the one that was wanted `last`: once the run has
/// taken half as long again. So the first failures show at once, and many that come one by one take few requests.
pub fn next_text_at(created_at: Timestamp, last: Timestamp) -> Timestamp {
    let taken = last.duration_since(created_at).max(SignedDuration::ZERO);
    last + taken / 2
}

/// What becomes of the newest status of a run.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is posted.
    Post,
    /// The commit shows exactly this since then.
    ShownSince(Timestamp),
    /// It is not posted, for this reason.
    NotPosted(String),
}

/// Whether a status of a run without a commit, or of a dry run, is kept from the forge. `was_shown`: another status
/// of the run was posted before.
pub fn withheld(run: &Run, dry_run: bool, was_shown: bool) -> Option<Verdict> {
    // One that was shown while the site was live is brought to an end, and nothing else is shown.
    let is_withheld = dry_run && !(was_shown && run.state.is_final());
    is_withheld.then(|| Verdict::NotPosted(DRY_RUN_STATUS.to_owned()))
}

/// What becomes of a status that is not withheld, from all statuses of the site on the commit.
pub fn verdict(run: &RunId, wanted: &StoredStatus, on_commit: &[(RunId, StoredStatus)]) -> Verdict {
    if newest_besides(run, wanted, on_commit).is_some() {
        return Verdict::NotPosted("not sent: a newer run speaks for the commit by now".to_owned());
    }
    match shown_since(run, wanted, on_commit) {
        Some(since) => Verdict::ShownSince(since),
        None => Verdict::Post,
    }
}

/// What another run of the same site wanted the commit to show last, after this was wanted (of two
/// in one millisecond the newer run's counts), unless the forge refused that.
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

/// How many pending texts a commit has been shown since it was shown an end.
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

/// Since when the commit has shown exactly what is wanted, if it does.
fn shown_since(
    run: &RunId,
    wanted: &StoredStatus,
    on_commit: &[(RunId, StoredStatus)],
) -> Option<Timestamp> {
    let posted = on_commit
        .iter()
        .filter_map(|(run, status)| Some((status.posted_at?, run, status)));
    // Of two in one millisecond, the one that was wanted later was posted later.
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
