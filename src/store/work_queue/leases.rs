//! Leases: the right to run one step, for a while.

use std::time::Duration;

use jiff::Timestamp;

use super::key::WorkKey;
use crate::store::{Store, StoreError, milliseconds};

/// The right to run one step, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub(in crate::store) key: WorkKey,
    pub(super) token: String,
    /// The number of requests for the item that this step answers.
    pub(super) requests: i64,
}

impl Store {
    /// Extends a lease to `now + lease`. False if it was lost.
    pub async fn renew(
        &self,
        lease: &Lease,
        now: Timestamp,
        length: Duration,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let [kind, subject, purge_kind] = lease.key.columns().values();
        let held = tx
            .execute(
                "UPDATE work SET lease_until = $5
                 WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4",
                vec![
                    kind,
                    subject,
                    purge_kind,
                    lease.token.as_str().into(),
                    until(now, length).into(),
                ],
            )
            .await?;
        tx.commit_soon().await?;
        Ok(held > 0)
    }

    /// Frees the leases of a process that died. Only for a store that no other process uses.
    pub async fn release_all_leases(&self) -> Result<(), StoreError> {
        if self.database.is_shared() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        tx.execute(
            "UPDATE work SET lease = NULL, lease_until = NULL WHERE lease IS NOT NULL",
            Vec::new(),
        )
        .await?;
        tx.commit().await
    }
}

/// When a lease of a given length ends, as it is stored.
pub(super) fn until(now: Timestamp, length: Duration) -> i64 {
    now.as_millisecond() + milliseconds(length)
}
