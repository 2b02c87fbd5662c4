//! The database's clock, which several processes share.
//!
//! Leases, due times, rates and circuits are compared with a time that the caller passes. Since every process takes
//! that time from the database, they agree even if their machines' clocks differ.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Store, StoreError};
use crate::clock::SharedTime;

/// Microseconds since 1970 by the server's clock.
const NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now";
/// An answer that took longer is too imprecise: the server may have read its clock at any time in between.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

impl Store {
    /// Sets `time` to the database's clock if other processes share the database. A slow answer does not change a
    /// time that is already set.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn synchronize(&self, time: &SharedTime) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        let asked = Instant::now();
        let rows = self.database.read(NOW, Vec::new()).await?;
        let took = asked.elapsed();
        let now = rows.first().map(|row| row.int("now")).transpose()?;
        let now = now.and_then(|now| Timestamp::from_microsecond(now).ok());
        let now = now.ok_or_else(|| StoreError::corrupt("the database's time".to_owned()))?;
        if took <= MAX_ROUND_TRIP || !time.is_set() {
            time.set(now, asked + took / 2);
        }
        Ok(())
    }
}
