//! The statuses of a run's commit, posted or not.

use super::super::super::view::{Badge, Moment};
use crate::run::Run;
use crate::store::StoredStatus;

/// A status for the commit, and its result.
pub(super) struct StatusRow {
    pub(super) state: Badge,
    pub(super) description: String,
    /// The result, with its time if there is one.
    pub(super) words: String,
    pub(super) at: Option<Moment>,
    /// Why the forge refused it.
    pub(super) refused: Option<String>,
}

/// A run's statuses, oldest first.
pub(super) fn rows(run: &Run, statuses: Vec<StoredStatus>) -> Vec<StatusRow> {
    let newest = statuses.last().map(|status| status.seq);
    statuses
        .into_iter()
        .map(|status| row(run, Some(status.seq) == newest, status))
        .collect()
}

fn row(run: &Run, is_newest: bool, status: StoredStatus) -> StatusRow {
    let StoredStatus {
        seq: _,
        state,
        description,
        wanted_at,
        posted_at,
        error,
        refused,
    } = status;
    let wanted = Some(Moment::from(wanted_at));
    let (words, at, refused) = match (posted_at, error) {
        (Some(posted), _) => ("posted".to_owned(), Some(Moment::from(posted)), None),
        (None, _) if run.dry_run => ("would have been posted".to_owned(), wanted, None),
        (None, Some(why)) if refused => ("not posted, wanted since".to_owned(), wanted, Some(why)),
        (None, Some(why)) => (why, None, None),
        (None, None) if is_newest => ("to be posted, wanted since".to_owned(), wanted, None),
        (None, None) => ("replaced by a newer text".to_owned(), None, None),
    };
    StatusRow {
        state: state.into(),
        description,
        words,
        at,
        refused,
    }
}
