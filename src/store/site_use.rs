//! How much each site has sent on an account, and has waiting there.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::database::{Row, params};
use super::{Store, StoreError};
use crate::account::AccountId;
use crate::purge::PurgeKind;

/// Counts like [`Store::submitted_since`], by the sites of the runs that wanted the targets. Uses `tasks_by_day`
/// and `purges_by_task`.
const SUBMITTED: &str = "SELECT site, COUNT(*) AS n FROM (
        SELECT DISTINCT runs.site AS site, purges.task, purges.target
        FROM tasks
        JOIN purges ON purges.task = tasks.id
        JOIN runs ON runs.id = purges.run
        WHERE tasks.account = $1 AND tasks.kind = $2 AND tasks.submitted_at >= $3
          AND (tasks.vendor_id IS NOT NULL OR tasks.state <> 'ended' OR tasks.error IS NULL)
    ) AS submitted GROUP BY site";

/// Uses `purges_to_submit`.
const WAITING: &str = "SELECT site, COUNT(*) AS n FROM (
        SELECT DISTINCT runs.site AS site, purges.target
        FROM purges
        JOIN runs ON runs.id = purges.run
        WHERE purges.account = $1 AND purges.kind = $2 AND purges.state = 'planned' AND purges.cdn = $3
    ) AS waiting GROUP BY site";

impl Store {
    /// How many targets of one kind each site has submitted on an account since a time, as far as the CDN may have
    /// accepted them. A target that several sites wanted counts for each of them.
    pub async fn submitted_by_site(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        since: Timestamp,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let values = params![account, kind.as_str(), since.as_millisecond()];
        let rows = self.database.read(SUBMITTED, values).await?;
        rows.iter().map(count).collect()
    }

    /// How many targets of one kind each site has planned on one CDN of an account.
    pub async fn planned_by_site(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        cdn: &str,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let values = params![account, kind.as_str(), cdn];
        let rows = self.database.read(WAITING, values).await?;
        rows.iter().map(count).collect()
    }
}

fn count(row: &Row) -> Result<(String, u64), StoreError> {
    let count = u64::try_from(row.int("n")?).unwrap_or(0);
    Ok((row.text("site")?, count))
}
