//! A run as a row.

use jiff::Timestamp;
use serde::Serialize;

use crate::account::AccountId;
use crate::changes::Completeness;
use crate::event::{CommitId, CommitRef, GitRef, RepoPath};
use crate::run::{Base, Run, RunId, WaitReason};
use crate::store::database::{Row, Value, params};
use crate::store::{StoreError, parsed, timestamp};

const EMPTY_LIST: &str = "[]";

/// The columns that [`run`] reads.
pub(super) const COLUMNS: &str =
    "id, site, forge, repo, git_ref, before_id, commit_id, delivery, origin, covered_by,
    bases, held_version, state, step,
    summary, proof, problems, created_at, deadline, ended_at, dry_run, notes, wait_reason, revision, arrival";

/// The statement for [`values`].
pub(super) const INSERT: &str = "INSERT INTO runs (id, site, forge, repo, git_ref, before_id, commit_id, delivery,
    origin, covered_by, bases, held_version, state, step, summary, proof, problems, created_at, deadline,
    ended_at, dry_run, notes, wait_reason, revision, arrival)";

/// A run's row, in the column order of [`INSERT`].
pub(super) fn values(run: &Run) -> Vec<Value> {
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
        list_text(&run.problems),
        run.created_at.as_millisecond(),
        run.deadline.as_millisecond(),
        run.ended_at.map(Timestamp::as_millisecond),
        i64::from(run.dry_run),
        list_text(&run.notes),
        run.waits_for.as_ref().map(wait_reason_text),
        run.revision,
        run.arrival.as_str(),
    ]
}

/// The stored form of a run's ref.
pub(super) fn ref_text(run: &Run) -> String {
    run.git_ref
        .as_ref()
        .map_or_else(String::new, ToString::to_string)
}

/// Reads a run.
pub(super) fn run(row: &Row) -> Result<Run, StoreError> {
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
        arrival: row.word("arrival")?,
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

/// The stored form of a wait reason: equal reasons give equal texts.
pub(in crate::store) fn wait_reason_text(reason: &WaitReason) -> String {
    match reason {
        WaitReason::Quota { renewed_at } => format!("quota {}", renewed_at.as_millisecond()),
        WaitReason::QuotaShare { renewed_at } => {
            format!("quota_share {}", renewed_at.as_millisecond())
        }
        WaitReason::Denied { since } => format!("denied {}", since.as_millisecond()),
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
        ("quota_share", ms) => Some(WaitReason::QuotaShare {
            renewed_at: at(ms)?,
        }),
        ("denied", ms) => Some(WaitReason::Denied { since: at(ms)? }),
        ("circuit", rest) => {
            let (ms, account) = rest.split_once(' ')?;
            Some(WaitReason::CircuitOpen {
                account: AccountId::new(account),
                since: at(ms)?,
            })
        }
        _ => None,
    }
}

/// The stored form of a run's bases.
pub(super) fn bases_text(bases: &[Base]) -> String {
    let texts: Vec<&str> = bases.iter().map(Base::as_str).collect();
    list_text(&texts)
}

/// The stored form of a list of texts: a JSON array.
pub(super) fn list_text<T: Serialize>(texts: &[T]) -> String {
    // Most lists of most runs are empty.
    if texts.is_empty() {
        return EMPTY_LIST.to_owned();
    }
    // Texts cannot fail to become JSON.
    serde_json::to_string(texts).unwrap_or_default()
}

/// A column that holds a JSON list of texts.
fn list(row: &Row, column: &str) -> Result<Vec<String>, StoreError> {
    let text = row.text(column)?;
    if text == EMPTY_LIST {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text)
        .map_err(|e| StoreError::corrupt(format!("the {column} of a run: {e}")))
}
