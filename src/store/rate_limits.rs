//! Rate limits that all processes share.

use std::time::Duration;

use jiff::Timestamp;

use super::database::params;
use super::{Store, StoreError, retry_on_conflict, timestamp};

/// A slot further in the future (in microseconds) was reserved before a clock was set back.
const FARTHEST: i64 = 60 * 1_000_000;

impl Store {
    /// Reserves the next slot of a named rate, one per `interval`, and returns its time.
    pub async fn reserve_slot(
        &self,
        name: &str,
        now: Timestamp,
        interval: Duration,
    ) -> Result<Timestamp, StoreError> {
        let interval = i64::try_from(interval.as_micros()).unwrap_or(FARTHEST);
        let after = retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            let rows = tx
                .query(
                    "INSERT INTO rates (name, next_at) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET next_at = CASE
                         WHEN rates.next_at < $3 OR rates.next_at > $4 THEN excluded.next_at
                         ELSE rates.next_at + $5 END
                     RETURNING next_at",
                    params![
                        name,
                        now.as_microsecond() + interval,
                        now.as_microsecond(),
                        now.as_microsecond() + FARTHEST,
                        interval
                    ],
                )
                .await?;
            let after = rows.first().map(|row| row.int("next_at")).transpose()?;
            tx.commit().await?;
            after.ok_or_else(|| StoreError::corrupt(format!("the rate of {name}")))
        })
        .await?;
        // Rounded up to the next millisecond, the store's resolution: never too early.
        timestamp((after - interval).div_euclid(1_000) + i64::from((after - interval) % 1_000 != 0))
    }
}
