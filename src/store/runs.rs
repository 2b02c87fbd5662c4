//! Runs, and what they found changed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

use super::database::{Row, Transaction, in_list, insert_rows, params};
use super::{Store, StoreError, Value, parsed, timestamp};
use crate::changes::{ChangeKind, Completeness, FilePath};
use crate::clock;
use crate::event::{CommitId, CommitRef, GitRef, RepoPath};
use crate::run::{Base, Run, RunId, RunState, WaitReason};

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

const COLUMNS: &str =
    "id, site, forge, repo, git_ref, before_id, commit_id, delivery, origin, covered_by,
    bases, held_version, state, step,
    summary, proof, problems, created_at, deadline, ended_at, dry_run, notes, wait_reason, revision";

/// The ids of the runs that left their work to the run `$1`, or to one that did.
const COVERED: &str = "WITH RECURSIVE covered (id) AS (
    SELECT runs.id FROM runs WHERE runs.covered_by = $1
    UNION
    SELECT runs.id FROM runs JOIN covered ON runs.covered_by = covered.id)";

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

    /// The runs whose work another run does along with its own: those that left it to that run, and to these.
    pub async fn covered_by(&self, id: &RunId) -> Result<Vec<Run>, StoreError> {
        let sql = format!(
            "{COVERED} SELECT {COLUMNS} FROM runs WHERE id IN (SELECT covered.id FROM covered) ORDER BY id"
        );
        let rows = self.database.read(&sql, params![&id.0]).await?;
        rows.iter().map(run).collect()
    }

    /// What a run found changed; none before it looked, or where it could not be known.
    pub async fn changes(
        &self,
        id: &RunId,
    ) -> Result<Option<BTreeMap<FilePath, ChangeKind>>, StoreError> {
        let mut files = BTreeMap::new();
        let known = self
            .each_change(id, |path, kind| {
                files.insert(path, kind);
            })
            .await?;
        Ok(known.then_some(files))
    }

    /// Hands over what a run found changed, one path after the other. False where [`changes`](Self::changes) has none.
    pub async fn each_change(
        &self,
        id: &RunId,
        mut take: impl FnMut(FilePath, ChangeKind) + Send,
    ) -> Result<bool, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT files FROM run_changes WHERE run = $1",
                params![&id.0],
            )
            .await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(false);
        };
        let text = row.text("files")?;
        drop(row);
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader
            .deserialize_seq(Files(&mut take))
            .and_then(|()| reader.end())
            .map_err(|error| StoreError::Corrupt(format!("the changes of run {id}: {error}")))?;
        Ok(true)
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

/// Reads a change set in the form in which it is kept, one path at a time.
struct Files<'t, T>(&'t mut T);

impl<'de, T: FnMut(FilePath, ChangeKind)> Visitor<'de> for Files<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of letters and paths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some((letter, path)) = list.next_element::<(char, Cow<'_, str>)>()? {
            let kind = kind_of(letter)
                .ok_or_else(|| A::Error::custom(format_args!("unknown letter {letter:?}")))?;
            let path = percent_encoding::percent_decode_str(&path).collect::<Vec<u8>>();
            (self.0)(FilePath::new(path), kind);
        }
        Ok(())
    }
}

/// Paths are bytes and JSON is text: what is not printable ASCII, and `%`, is percent-encoded.
const KEPT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// A change set in the form in which it is kept.
pub(super) fn files_text(files: &BTreeMap<FilePath, ChangeKind>) -> String {
    let list: Vec<(char, String)> = files
        .iter()
        .map(|(path, kind)| {
            (
                letter_of(*kind),
                percent_encoding::percent_encode(path.as_bytes(), KEPT).to_string(),
            )
        })
        .collect();
    serde_json::to_string(&list).unwrap_or_default()
}

fn letter_of(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Added => 'A',
        ChangeKind::Modified => 'M',
        ChangeKind::Removed => 'D',
        ChangeKind::AddedAndModified => 'B',
    }
}

fn kind_of(letter: char) -> Option<ChangeKind> {
    match letter {
        'A' => Some(ChangeKind::Added),
        'M' => Some(ChangeKind::Modified),
        'D' => Some(ChangeKind::Removed),
        'B' => Some(ChangeKind::AddedAndModified),
        _ => None,
    }
}

const INSERT: &str = "INSERT INTO runs (id, site, forge, repo, git_ref, before_id, commit_id, delivery,
    origin, covered_by, bases, held_version, state, step, summary, proof, problems, created_at, deadline,
    ended_at, dry_run, notes, wait_reason, revision)";

/// A run's row, in the order of [`INSERT`].
fn values(run: &Run) -> Vec<Value> {
    params![
        &run.id.0,
        &run.site,
        &run.forge,
        run.repo.as_str(),
        ref_text(run),
        run.before.as_ref().map(ToString::to_string),
        run.commit.as_str(),
        run.delivery.clone(),
        run.origin.as_str(),
        run.covered_by.as_ref().map(|id| id.0.clone()),
        bases_text(&run.bases),
        run.held_version,
        run.state.as_str(),
        run.step.as_str(),
        &run.summary,
        run.proof.map(Completeness::as_str),
        serde_json::json!(run.problems).to_string(),
        run.created_at.as_millisecond(),
        run.deadline.as_millisecond(),
        run.ended_at.map(Timestamp::as_millisecond),
        i64::from(run.dry_run),
        serde_json::json!(run.notes).to_string(),
        run.waits_for.as_ref().map(wait_reason_text),
        run.revision,
    ]
}

/// Inserts new runs.
pub(super) async fn insert<'r>(
    tx: &mut dyn Transaction,
    runs: impl Iterator<Item = &'r Run>,
) -> Result<(), StoreError> {
    let (mut rows, mut newest) = (Vec::new(), BTreeMap::new());
    for run in runs {
        rows.push(values(run));
        let at = newest.entry((&run.site, ref_text(run))).or_insert(&run.id);
        *at = (*at).max(&run.id);
    }
    insert_rows(tx, INSERT, "", rows).await?;
    let newest = newest.into_iter();
    let newest = newest.map(|((site, git_ref), run)| params![site, git_ref, &run.0]);
    insert_rows(tx, INSERT_NEWEST, IF_NEWER, newest.collect()).await
}

const INSERT_NEWEST: &str = "INSERT INTO newest_runs (site, git_ref, run)";
const IF_NEWER: &str = "ON CONFLICT (site, git_ref) DO UPDATE SET run = excluded.run
    WHERE newest_runs.run < excluded.run";

/// A run's ref in the form in which it is kept.
fn ref_text(run: &Run) -> String {
    run.git_ref
        .as_ref()
        .map_or_else(String::new, ToString::to_string)
}

/// Makes a run the one that covers all that left their work to it in the end.
pub(super) async fn cover(tx: &mut dyn Transaction, id: &RunId) -> Result<(), StoreError> {
    let sql = format!(
        "{COVERED} UPDATE runs SET covered_by = $1, revision = revision + 1
         WHERE id IN (SELECT covered.id FROM covered) AND covered_by <> $1"
    );
    tx.execute(&sql, params![&id.0]).await?;
    Ok(())
}

/// Writes a run as it was read and then changed. Nothing is written if the row has changed since.
pub(super) async fn update(tx: &mut dyn Transaction, run: &Run) -> Result<(), StoreError> {
    let updated = tx.execute(
        "UPDATE runs SET state = $2, step = $3, summary = $4, proof = $5, deadline = $6, ended_at = $7,
             problems = $8, commit_id = $9, covered_by = $10, bases = $11, held_version = $12,
             dry_run = $13, notes = $14, wait_reason = $15, revision = revision + 1
         WHERE id = $1 AND revision = $16",
        params![
            &run.id.0,
            run.state.as_str(),
            run.step.as_str(),
            &run.summary,
            run.proof.map(Completeness::as_str),
            run.deadline.as_millisecond(),
            run.ended_at.map(Timestamp::as_millisecond),
            serde_json::json!(run.problems).to_string(),
            run.commit.as_str(),
            run.covered_by.as_ref().map(|id| id.0.clone()),
            bases_text(&run.bases),
            run.held_version,
            i64::from(run.dry_run),
            serde_json::json!(run.notes).to_string(),
            run.waits_for.as_ref().map(wait_reason_text),
            run.revision,
        ],
    )
    .await?;
    match updated {
        0 => Err(StoreError::Outdated),
        _ => Ok(()),
    }
}

/// Ends runs that have not planned yet, and leaves their work to `by`: the runs. Those that are none such are left as
/// they are.
pub(super) async fn supersede(
    tx: &mut dyn Transaction,
    runs: &[RunId],
    by: &RunId,
    summary: &str,
    now: Timestamp,
) -> Result<Vec<RunId>, StoreError> {
    let mut values = params![&by.0, summary, now.as_millisecond()];
    let listed = in_list(&mut values, runs.iter().map(|run| &run.0));
    let sql = format!(
        "UPDATE runs SET state = 'superseded', step = 'ended', covered_by = $1, summary = $2, ended_at = $3,
             wait_reason = NULL, revision = revision + 1
         WHERE state = 'pending' AND step = 'changes' AND id IN ({listed}) RETURNING id"
    );
    ids(tx.query(&sql, values).await?)
}

/// Has the runs that left their work to `by` say how that ended: the runs.
pub(super) async fn conclude_superseded(
    tx: &mut dyn Transaction,
    by: &RunId,
    summary: &str,
    dry_run: bool,
) -> Result<Vec<RunId>, StoreError> {
    let sql = format!(
        "{COVERED} UPDATE runs SET covered_by = $1, summary = $2, dry_run = $3, revision = revision + 1
         WHERE id IN (SELECT covered.id FROM covered) RETURNING id"
    );
    let values = params![&by.0, summary, i64::from(dry_run)];
    ids(tx.query(&sql, values).await?)
}

fn ids(rows: Vec<Row>) -> Result<Vec<RunId>, StoreError> {
    rows.iter().map(|row| Ok(RunId(row.text("id")?))).collect()
}

/// Notes what a pending run waits for. False if it has ended.
pub(super) async fn wait(
    tx: &mut dyn Transaction,
    id: &RunId,
    reason: &WaitReason,
    summary: &str,
    deadline: Timestamp,
) -> Result<bool, StoreError> {
    let waiting = tx
        .execute(
            "UPDATE runs SET wait_reason = $2, summary = $3, deadline = $4, revision = revision + 1
             WHERE id = $1 AND state = 'pending'",
            params![
                &id.0,
                wait_reason_text(reason),
                summary,
                deadline.as_millisecond()
            ],
        )
        .await?;
    Ok(waiting > 0)
}

/// A run, as it stays until the transaction is over.
pub(super) async fn find(tx: &mut dyn Transaction, id: &RunId) -> Result<Option<Run>, StoreError> {
    let rows = tx
        .query(
            &format!(
                "SELECT {COLUMNS} FROM runs WHERE id = $1 {}",
                tx.dialect().for_update()
            ),
            params![&id.0],
        )
        .await?;
    rows.first().map(run).transpose()
}

/// The run itself, or the one that covers it in the end.
pub(super) async fn that_covers(tx: &mut dyn Transaction, run: Run) -> Result<Run, StoreError> {
    let mut run = run;
    while let Some(cover) = run.covered_by.clone() {
        match find(tx, &cover).await? {
            Some(covering) => run = covering,
            None => break,
        }
    }
    Ok(run)
}

/// The runs of a delivery, as [`find`] finds one.
pub(super) async fn of_delivery(
    tx: &mut dyn Transaction,
    delivery: &str,
) -> Result<Vec<Run>, StoreError> {
    let rows = tx
        .query(
            &format!(
                "SELECT {COLUMNS} FROM runs WHERE delivery = $1 ORDER BY id {}",
                tx.dialect().for_update()
            ),
            params![delivery],
        )
        .await?;
    rows.iter().map(run).collect()
}

fn run(row: &Row) -> Result<Run, StoreError> {
    Ok(Run {
        id: RunId(row.text("id")?),
        site: row.text("site")?,
        forge: row.text("forge")?,
        repo: parsed("repo", &row.text("repo")?, RepoPath::parse)?,
        git_ref: Some(row.text("git_ref")?)
            .filter(|text| !text.is_empty())
            .map(|text| GitRef::parse(&text)),
        before: row
            .maybe_text("before_id")?
            .map(|id| parsed("before_id", &id, CommitId::parse))
            .transpose()?,
        commit: CommitRef::parse(&row.text("commit_id")?),
        delivery: row.maybe_text("delivery")?,
        origin: row.word("origin")?,
        covered_by: row.maybe_text("covered_by")?.map(RunId),
        bases: list(row, "bases")?
            .iter()
            .map(|text| parsed("bases", text, Base::parse))
            .collect::<Result<_, _>>()?,
        held_version: row.maybe_int("held_version")?,
        state: row.word("state")?,
        step: row.word("step")?,
        summary: row.text("summary")?,
        proof: row.maybe_word("proof")?,
        problems: list(row, "problems")?,
        notes: list(row, "notes")?,
        dry_run: row.int("dry_run")? != 0,
        waits_for: row
            .maybe_text("wait_reason")?
            .map(|text| parsed("wait_reason", &text, wait_reason))
            .transpose()?,
        revision: row.int("revision")?,
        created_at: timestamp(row.int("created_at")?)?,
        deadline: timestamp(row.int("deadline")?)?,
        ended_at: row.maybe_int("ended_at")?.map(timestamp).transpose()?,
    })
}

/// What a run waits for, in the form in which it is kept: the same for the same reason.
pub(super) fn wait_reason_text(reason: &WaitReason) -> String {
    match reason {
        WaitReason::Quota { renewed_at } => format!("quota {}", renewed_at.as_millisecond()),
        WaitReason::CircuitOpen { account, since } => {
            format!("circuit {} {account}", since.as_millisecond())
        }
    }
}

fn wait_reason(text: &str) -> Option<WaitReason> {
    let at = |ms: &str| Timestamp::from_millisecond(ms.parse().ok()?).ok();
    match text.split_once(' ')? {
        ("quota", ms) => Some(WaitReason::Quota {
            renewed_at: at(ms)?,
        }),
        ("circuit", rest) => {
            let (ms, account) = rest.split_once(' ')?;
            Some(WaitReason::CircuitOpen {
                account: account.to_owned(),
                since: at(ms)?,
            })
        }
        _ => None,
    }
}

/// What a run starts from, in the form in which it is kept.
fn bases_text(bases: &[Base]) -> String {
    let texts: Vec<&str> = bases.iter().map(Base::as_str).collect();
    serde_json::json!(texts).to_string()
}

/// A column that holds a JSON list of texts.
fn list(row: &Row, column: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(&row.text(column)?)
        .map_err(|e| StoreError::Corrupt(format!("the {column} of a run: {e}")))
}
