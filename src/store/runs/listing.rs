//! Reads runs: one, those of a delivery, or a filtered list.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::row::{COLUMNS, run};
use crate::clock;
use crate::event::{CommitId, GitRef};
use crate::run::{Run, RunId, RunState};
use crate::store::database::{Value, params};
use crate::store::{Store, StoreError, timestamp};

/// Which runs to list; all if nothing is set.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this site.
    pub site: Option<String>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only for this commit.
    pub commit: Option<CommitId>,
    /// Only those created before this run.
    pub before: Option<RunId>,
    /// At most this many.
    pub limit: u32,
}

/// A run that has not planned yet.
#[derive(Clone, Debug)]
pub struct UnplannedRun {
    /// The run.
    pub run: Run,
    /// When its step is due.
    pub due_at: Timestamp,
}

impl Store {
    /// A run by its id.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        let rows = self
            .database
            .read(
                &format!("SELECT {COLUMNS} FROM runs WHERE id = $1"),
                params![&id.0],
            )
            .await?;
        rows.first().map(run).transpose()
    }

    /// Runs, newest first.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        for state in parts(filter) {
            let (sql, values) = listing(filter, &state);
            for row in self.database.read(&sql, values).await? {
                runs.push(run(&row)?);
            }
        }
        runs.sort_by(|one, other| other.id.cmp(&one.id));
        runs.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
        Ok(runs)
    }

    /// The runs of a delivery, oldest first, by our id or the forge's; none if the delivery is not stored.
    pub async fn runs_of_delivery(&self, delivery: &str) -> Result<Option<Vec<Run>>, StoreError> {
        let known = self
            .database
            .read(
                "SELECT id FROM deliveries WHERE id = $1 OR forge_delivery = $1 ORDER BY id",
                params![delivery],
            )
            .await?;
        let mut runs = Vec::new();
        for row in &known {
            let made = self
                .database
                .read(
                    &format!("SELECT {COLUMNS} FROM runs WHERE delivery = $1 ORDER BY id"),
                    params![row.text("id")?],
                )
                .await?;
            for row in &made {
                runs.push(run(row)?);
            }
        }
        Ok((!known.is_empty()).then_some(runs))
    }

    /// The newest run of a site, or of a site at one ref.
    pub async fn newest_run(
        &self,
        site: &str,
        git_ref: Option<&GitRef>,
    ) -> Result<Option<Run>, StoreError> {
        let (newest, values) = match git_ref {
            Some(git_ref) => (
                "SELECT run FROM newest_runs WHERE site = $1 AND git_ref = $2",
                params![site, git_ref.to_string()],
            ),
            None => (
                "SELECT MAX(id) FROM (
                     SELECT MAX(id) AS id FROM runs WHERE site = $1 AND state = 'pending'
                     UNION ALL
                     SELECT MAX(id) FROM runs WHERE site = $1 AND state <> 'pending') AS heads",
                params![site],
            ),
        };
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE id = ({newest})");
        let rows = self.database.read(&sql, values).await?;
        rows.first().map(run).transpose()
    }

    /// Whether a run is the first of its site, among stored ones.
    pub async fn is_first(&self, run: &Run) -> Result<bool, StoreError> {
        let older = self
            .database
            .read(
                "SELECT 1 AS older WHERE
                     EXISTS (SELECT 1 FROM runs WHERE site = $1 AND id < $2 AND state = 'pending')
                     OR EXISTS (SELECT 1 FROM runs WHERE site = $1 AND id < $2 AND state <> 'pending')",
                params![&run.site, &run.id.0],
            )
            .await?;
        Ok(older.is_empty())
    }

    /// The other runs of a site that have not planned yet, newest first: those newer than `id`, and older ones that no
    /// process is running at `now`; at most `limit`. A process whose lease is over counts as dead.
    pub async fn unplanned(
        &self,
        site: &str,
        id: &RunId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnplannedRun>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, due_at
             FROM runs JOIN (
                 SELECT subject, due_at, lease, lease_until FROM work WHERE kind = 'run' AND purge_kind = ''
             ) AS next ON next.subject = id
             WHERE site = $1 AND id <> $2 AND state = 'pending' AND step = 'changes'
                 AND (id > $2 OR lease IS NULL OR lease_until <= $3)
             ORDER BY id DESC LIMIT $4"
        );
        let values = params![site, &id.0, now.as_millisecond(), i64::from(limit)];
        let rows = self.database.read(&sql, values).await?;
        let unplanned = rows.iter().map(|row| {
            Ok(UnplannedRun {
                run: run(row)?,
                due_at: timestamp(row.int("due_at")?)?,
            })
        });
        unplanned.collect()
    }

    /// The known commits of a site's runs that are newer than the run `id`, or than `since`.
    pub async fn commits_since(
        &self,
        site: &str,
        id: &RunId,
        since: Timestamp,
    ) -> Result<BTreeSet<CommitId>, StoreError> {
        // A run's id is generated after its creation time, so no such run has an id before both.
        let first = clock::first_id_of(since).min(id.0.clone());
        let rows = self
            .database
            .read(
                "SELECT commit_id FROM runs
                 WHERE site = $1 AND state = 'pending' AND id > $2 AND (id > $3 OR created_at > $4)
                 UNION
                 SELECT commit_id FROM runs
                 WHERE site = $1 AND state <> 'pending' AND id > $2 AND (id > $3 OR created_at > $4)",
                params![site, first, &id.0, since.as_millisecond()],
            )
            .await?;
        let mut commits = BTreeSet::new();
        for row in &rows {
            commits.extend(CommitId::parse(&row.text("commit_id")?));
        }
        Ok(commits)
    }
}

/// One condition for each index to read: pending runs and ended ones have their own.
fn parts(filter: &RunFilter) -> Vec<String> {
    match filter.state {
        Some(RunState::Pending) => vec!["state = 'pending'".to_owned()],
        // Both conditions: the index needs the second, and no database infers it.
        Some(ended) => vec![format!(
            "state = '{}' AND state <> 'pending'",
            ended.as_str()
        )],
        // Without a site, all runs are in order by id; one commit has few.
        None if filter.site.is_none() || filter.commit.is_some() => vec!["TRUE".to_owned()],
        None => vec![
            "state = 'pending'".to_owned(),
            "state <> 'pending'".to_owned(),
        ],
    }
}

/// The statement that lists the runs of one part, newest first, with its values.
fn listing(filter: &RunFilter, state: &str) -> (String, Vec<Value>) {
    let mut sql = format!("SELECT {COLUMNS} FROM runs WHERE {state}");
    let mut values: Vec<Value> = Vec::new();
    let mut narrow = |condition: &str, value: Option<String>| {
        if let Some(value) = value {
            values.push(Value::from(value));
            sql.push_str(&format!(" AND {condition} ${}", values.len()));
        }
    };
    narrow("site =", filter.site.clone());
    narrow(
        "commit_id =",
        filter.commit.as_ref().map(ToString::to_string),
    );
    narrow("id <", filter.before.as_ref().map(|id| id.0.clone()));
    values.push(Value::from(i64::from(filter.limit)));
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", values.len()));
    (sql, values)
}
