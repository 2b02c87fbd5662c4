//! What happens to a work item when its step is committed.

use jiff::Timestamp;

use super::leases::Lease;
use crate::store::StoreError;
use crate::store::database::{Transaction, params};

/// What happens to a work item when its step is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The step continues: it keeps its lease, and its failure count is reset.
    Continue,
    /// The item is done for now.
    Complete,
    /// The item is due again at a time, or as soon as it is enqueued.
    Reschedule {
        /// The time.
        at: Timestamp,
    },
    /// The item is due again at a time and not before, even if it is enqueued.
    Postpone {
        /// The time.
        until: Timestamp,
        /// How often in a row it has failed; zero if it waits for another reason.
        attempts: i64,
    },
}

/// Applies a disposition to a step's work item. False if the step has lost its lease.
pub(in crate::store) async fn apply_disposition(
    tx: &mut dyn Transaction,
    lease: &Lease,
    disposition: Disposition,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut values = Vec::from(lease.key.columns().values());
    values.push(lease.token.as_str().into());
    let (due_at, attempts, firm) = match disposition {
        Disposition::Continue => {
            let held = tx
                .execute(
                    "UPDATE work SET attempts = 0, firm = 0
                     WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4",
                    values,
                )
                .await?;
            return Ok(held > 0);
        }
        Disposition::Complete => {
            let mut values = values.clone();
            values.push(lease.requests.into());
            let removed = tx
                .execute(
                    "DELETE FROM work
                     WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4
                         AND requests = $5",
                    values,
                )
                .await?;
            if removed > 0 {
                return Ok(true);
            }
            (now, 0, false)
        }
        Disposition::Reschedule { at } => (at, 0, false),
        Disposition::Postpone { until, attempts } => (until, attempts, true),
    };
    let due_at = due_at.as_millisecond();
    values.extend(params![
        lease.requests,
        attempts,
        due_at,
        now.as_millisecond().min(due_at),
        i64::from(firm)
    ]);
    // Enqueued in the meantime: due now, unless the item is postponed.
    let held = tx
        .execute(
            "UPDATE work SET lease = NULL, lease_until = NULL, attempts = $6, firm = $9,
                 due_at = CASE WHEN requests = $5 OR $9 = 1 THEN $7 ELSE $8 END
             WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4",
            values,
        )
        .await?;
    Ok(held > 0)
}
