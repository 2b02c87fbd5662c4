//! Retries requests to a forge that cannot answer yet, for about ten minutes.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::backoff::{MAX_BACKOFF, backoff_at_least};
use crate::engine::outcome::Outcome;
use crate::run::Run;
use crate::store::{Work, Write};

/// Tries before the forge's answer counts as unknown.
const MAX_FORGE_TRIES: i64 = 15;

/// Whether a run can still wait for the forge: only for a limited number of tries, and not past its deadline, after
/// which nothing could be purged.
pub fn may_ask_again(run: &Run, work: &Work, asked: Option<Duration>, now: Timestamp) -> bool {
    let wait = asked.unwrap_or_default().max(MAX_BACKOFF);
    work.attempts < MAX_FORGE_TRIES && now + wait < run.deadline
}

/// Runs the same step again after a backoff, which is not shorter than the forge asked for.
pub fn ask_again(
    run: Run,
    work: &Work,
    why: &str,
    asked: Option<Duration>,
    now: Timestamp,
    fraction: f64,
) -> Outcome {
    warn!("the forge cannot be asked yet: {why}");
    let wait = backoff_at_least(work.attempts, fraction, asked);
    Outcome::postpone(vec![Write::Run(run)], now + wait, work.attempts + 1)
}
