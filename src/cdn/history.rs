//! Decides by its time whether an entry in a CDN's history may be the batch that was sent.

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::local_time::{CHINA, read};

/// How far a window of time reaches beyond what it is to hold: the history's clock is not ours.
const AROUND: SignedDuration = SignedDuration::from_mins(10);
/// How much earlier than its submission a batch may seem to be logged. More would take an earlier
/// purge of the same URLs for this one, and a cache may have filled from the old content since.
const EARLIER: SignedDuration = SignedDuration::from_secs(5);
/// How much later than its submission a batch may be logged: longer than a request can last.
const LATER: SignedDuration = SignedDuration::from_mins(2);

/// How long after a moment of ours something was logged by a clock that is `ahead` of ours, if that
/// fits a request sent at that moment.
pub fn logged_after(
    logged: Timestamp,
    sent: Timestamp,
    ahead: SignedDuration,
) -> Option<SignedDuration> {
    let after = logged.duration_since(sent) - ahead;
    (-EARLIER <= after && after <= LATER).then_some(after)
}

/// The same for a local time. Its zone is not documented: China's is assumed, UTC is recognised.
pub fn written_after(text: &str, sent: Timestamp, ahead: SignedDuration) -> Option<SignedDuration> {
    [CHINA, Offset::UTC]
        .into_iter()
        .filter_map(|zone| read(text, zone))
        .find_map(|logged| logged_after(logged, sent, ahead))
}

/// From shortly before one moment to shortly after another.
pub fn around(first: Timestamp, last: Timestamp) -> (Timestamp, Timestamp) {
    (
        first.saturating_sub(AROUND).unwrap_or(first),
        last.saturating_add(AROUND).unwrap_or(last),
    )
}
