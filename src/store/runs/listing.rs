//! Reading runs: one, those of a delivery, or a list of them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::row::{COLUMNS, run};
use crate::clock;
use crate::event::{CommitId, GitRef};
use crate::run::{Run, RunId, RunState};
use crate::store::database::{Value, params};
use crate::store::{Store, StoreError};

/// Which runs to list. Everything unset: all of them.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this site.
    pub site: Option<String>,
    /// In this state.
    pub state: Option<RunState>,
    /// Of this commit.
    pub commit: Option<CommitId>,
    /// Only runs made before this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: u32,
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

    /// The runs that a delivery made, oldest first, by our id of it or the forge's; none where it isn't kept.
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

    /// Whether a run is the first of its site, of those that are kept.
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

    /// The newest run of a site that came after `id` and has not planned yet.
    pub async fn newer_unplanned(&self, site: &str, id: &RunId) -> Result<Option<Run>, StoreError> {
        let rows = self
            .database
            .read(
                &format!(
                    "SELECT {COLUMNS} FROM runs
                     WHERE site = $1 AND id > $2 AND state = 'pending' AND step = 'changes'
                     ORDER BY id DESC LIMIT 1"
                ),
                params![site, &id.0],
            )
            .await?;
        rows.first().map(run).transpose()
    }

    /// The runs of a site that came before `id`, have not planned yet and are run by no process, oldest first; at most `limit`.
    pub async fn older_unplanned(
        &self,
        site: &str,
        id: &RunId,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs
             WHERE site = $1 AND id < $2 AND state = 'pending' AND step = 'changes'
                 AND EXISTS (
                     SELECT 1 FROM work
                     WHERE work.kind = 'run' AND work.subject = runs.id AND work.purge_kind = ''
                         AND work.lease IS NULL)
             ORDER BY id LIMIT $3"
        );
        let values = params![site, &id.0, i64::from(limit)];
        let rows = self.database.read(&sql, values).await?;
        rows.iter().map(run).collect()
    }

    /// The commits of a site's runs that came after the run `id`, or after `since`, as far as they are known.
    pub async fn commits_since(
        &self,
        site: &str,
        id: &RunId,
        since: Timestamp,
    ) -> Result<BTreeSet<CommitId>, StoreError> {
        // A run gets its id after its time, so none of these is before both.
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

/// The states that a list of runs is read by, as conditions: pending runs and ended ones have indexes of their own.
fn parts(filter: &RunFilter) -> Vec<String> {
    match filter.state {
        Some(RunState::Pending) => vec!["state = 'pending'".to_owned()],
        // Both, since no database infers the second, which the index wants.
        Some(ended) => vec![format!(
            "state = '{}' AND state <> 'pending'",
            ended.as_str()
        )],
        // Without a site, all runs are in order by their ids; those of one commit are few.
        None if filter.site.is_none() || filter.commit.is_some() => vec!["TRUE".to_owned()],
        None => vec![
            "state = 'pending'".to_owned(),
            "state <> 'pending'".to_owned(),
        ],
    }
}

/// The statement that lists runs in some of the states, newest first, with its values.
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
