//! Decides by its time whether an entry in a CDN's history may be the batch that was sent.

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::local_time::{CHINA, read};

/// How far a queried period extends beyond the wanted one, since the history's clock is not ours.
const AROUND: SignedDuration = SignedDuration::from_mins(10);
/// How much earlier than its submission a batch may seem to be logged. With more, an earlier purge of the same URLs
/// could be mistaken for this one, and caches may have fetched the old content in between.
const EARLIER: SignedDuration = SignedDuration::from_secs(5);
/// How much later than its submission a batch may be logged: longer than a request can last.
const LATER: SignedDuration = SignedDuration::from_mins(2);

/// How long after one of our times an entry was logged by a clock that is `ahead` of ours, if it may belong to a
/// request sent at that time.
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

/// The period from shortly before one time to shortly after another.
pub fn around(first: Timestamp, last: Timestamp) -> (Timestamp, Timestamp) {
    (
        first.saturating_sub(AROUND).unwrap_or(first),
        last.saturating_add(AROUND).unwrap_or(last),
    )
}
