//! Reads the logs of purges and prefetches page by page, and derives the state of batches from them.
//!
//! `DescribePurgeTasks` and `DescribePushTasks` list one entry per URL (and area), newest first, filtered by a task
//! id or a period of time.

use std::collections::BTreeSet;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use strum::VariantArray;

use super::client::{Answered, Client};
use crate::cdn::history::written_after;
use crate::cdn::local_time::{CHINA, written};
use crate::cdn::matching::{AnyId, Targets, note};
use crate::cdn::{CdnError, FEW_TASKS, InFlight, Paced, Report, TargetState};
use crate::purge::{PurgeKind, TaskId, TaskIds};

/// Entries per request. The documents specify no maximum, and a server may return fewer.
const PAGE: usize = 100;
/// One URL of a task.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// The task's id.
    #[serde(default)]
    pub task_id: Option<AnyId>,
    /// The URL or directory.
    #[serde(default)]
    pub url: Option<String>,
    /// `done`, `fail`, `process`; for a prefetch also `invalid`. The documents' examples write `Done`.
    #[serde(default)]
    pub status: Option<String>,
    /// The progress of a prefetch.
    #[serde(default)]
    pub percent: Option<f64>,
    /// Local time, without a zone.
    #[serde(default)]
    pub create_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// May be null.
    #[serde(default, alias = "PushLogs")]
    purge_logs: Option<Vec<Entry>>,
    /// May be null; a number of entries that may exceed the listed ones.
    #[serde(default)]
    total_count: Option<i64>,
}

/// The entries of a query, and how far the server's clock is ahead.
struct Listed {
    entries: Vec<Entry>,
    ahead: SignedDuration,
}

/// The state of tasks, one report per task. Each task belongs to a submitted batch; those without an id get an
/// empty report.
pub async fn follow(
    client: &Client,
    tasks: &[InFlight],
    requests: &mut Paced<'_>,
) -> Result<Vec<Report>, CdnError> {
    let mut reports = vec![Report::default(); tasks.len()];
    for &kind in PurgeKind::VARIANTS {
        let mut of_kind: Vec<(&InFlight, &mut Report)> = tasks
            .iter()
            .zip(&mut reports)
            .filter(|(task, _)| task.batch.kind == kind && task.task.is_some())
            .collect();
        if of_kind.len() <= FEW_TASKS {
            follow_each(client, kind, &mut of_kind, requests).await?;
        } else {
            follow_window(client, kind, &mut of_kind, requests).await?;
        }
    }
    Ok(reports)
}

async fn follow_each(
    client: &Client,
    kind: PurgeKind,
    tasks: &mut [(&InFlight, &mut Report)],
    requests: &mut Paced<'_>,
) -> Result<(), CdnError> {
    for (task, report) in tasks {
        for id in ids(task) {
            let listed = list(client, kind, by_id(id), usize::MAX, requests).await?;
            if let Some(listed) = listed {
                report_on(task, report, &listed.entries);
            }
        }
    }
    Ok(())
}

/// Queries everything that was logged while the tasks were submitted. This takes fewer requests than querying each
/// task, unless the account is busy with other work.
async fn follow_window(
    client: &Client,
    kind: PurgeKind,
    tasks: &mut [(&InFlight, &mut Report)],
    requests: &mut Paced<'_>,
) -> Result<(), CdnError> {
    let times = || tasks.iter().map(|(task, _)| task.submitted_at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(());
    };
    let pages_by_id = tasks
        .iter()
        .map(|(task, _)| task.batch.targets.len().div_ceil(PAGE).max(1))
        .sum();
    let window = between(client.around(first, last), (CHINA, CHINA));
    let Some(listed) = list(client, kind, window, pages_by_id, requests).await? else {
        return follow_each(client, kind, tasks, requests).await;
    };
    let mut any = false;
    for (task, report) in tasks.iter_mut() {
        any |= report_on(task, report, &listed.entries);
    }
    if any {
        return Ok(());
    }
    // Either nothing is logged yet, or the period is wrong. The oldest task tells which.
    tasks.sort_by_key(|(task, _)| task.submitted_at);
    let Some((oldest, others)) = tasks.split_first_mut() else {
        return Ok(());
    };
    follow_each(client, kind, std::slice::from_mut(oldest), requests).await?;
    if oldest.1.targets.is_empty() {
        return Ok(());
    }
    follow_each(client, kind, others, requests).await
}

/// Looks for a batch whose answer was lost: the task that was logged when it was sent and has all of its targets.
pub async fn find(
    client: &Client,
    lost: &InFlight,
    others: &BTreeSet<TaskId>,
    requests: &mut Paced<'_>,
) -> Result<Option<TaskIds>, CdnError> {
    let kind = lost.batch.kind;
    let Some(first) = lost.batch.targets.first() else {
        return Ok(None);
    };
    // The log's time zone is not documented: query that time both by China's clocks and by UTC.
    let window = client.around(lost.submitted_at, lost.submitted_at);
    let mut query = between(window, (Offset::UTC, CHINA));
    insert(&mut query, "Keyword", json!(first));
    let Some(Listed { entries, ahead }) = list(client, kind, query, usize::MAX, requests).await?
    else {
        return Ok(None);
    };
    let wanted = Targets::new(&lost.batch.targets);
    let mut candidates: Vec<(SignedDuration, &str)> = entries
        .iter()
        .filter(|entry| {
            entry.url.as_deref().and_then(|url| wanted.find(url)) == Some(first.as_str())
        })
        .filter_map(|entry| {
            let after = written_after(entry.create_time.as_deref()?, lost.submitted_at, ahead)?;
            Some((after, entry.task_id.as_ref()?.task()?))
        })
        .filter(|(_, id)| !others.contains(&TaskId::Vendor((*id).to_owned())))
        .collect();
    // A retry may have been sent since: the nearest entry is this batch.
    candidates.sort_by_key(|(after, _)| after.abs());
    candidates.dedup_by_key(|(_, id)| *id);
    for (_, id) in candidates {
        let task = list(client, kind, by_id(id), usize::MAX, requests).await?;
        let urls = task.iter().flat_map(|task| &task.entries);
        if wanted.all_in(urls.filter_map(|entry| entry.url.as_deref())) {
            return Ok(Some(TaskId::Vendor(id.to_owned()).into()));
        }
    }
    Ok(None)
}

/// All entries of a query, page by page. None if that takes more pages than `most`.
async fn list(
    client: &Client,
    kind: PurgeKind,
    mut query: Value,
    most: usize,
    requests: &mut Paced<'_>,
) -> Result<Option<Listed>, CdnError> {
    let action = match kind {
        PurgeKind::Url => {
            insert(&mut query, "PurgeType", json!("url"));
            "DescribePurgeTasks"
        }
        PurgeKind::Directory => {
            insert(&mut query, "PurgeType", json!("path"));
            "DescribePurgeTasks"
        }
        PurgeKind::Prefetch => "DescribePushTasks",
    };
    let mut listed: Vec<Entry> = Vec::new();
    loop {
        insert(&mut query, "Offset", json!(listed.len()));
        insert(&mut query, "Limit", json!(PAGE));
        let ask = || client.call::<Page>(action, "", &query);
        let Answered { response, ahead } = requests.ask(listed.len(), ask).await?;
        let page = response.purge_logs.unwrap_or_default();
        let total = response
            .total_count
            .map_or(0, |total| usize::try_from(total).unwrap_or(0));
        if listed.is_empty() && total.div_ceil(page.len().max(1)) > most {
            return Ok(None);
        }
        let (got, full) = (page.len(), page.len() >= PAGE);
        // A server that ignores Offset returns the same page for ever.
        let nothing_new = got == 0 || repeats(&listed, &page);
        if !nothing_new {
            listed.extend(page);
        }
        let counted_all = match response.total_count {
            Some(_) => listed.len() >= total,
            None => !full,
        };
        if nothing_new || counted_all {
            return Ok(Some(Listed {
                entries: listed,
                ahead,
            }));
        }
    }
}

fn repeats(listed: &[Entry], page: &[Entry]) -> bool {
    let same = |a: &Entry, b: &Entry| a.task_id == b.task_id && a.url == b.url;
    let last_page = listed.get(listed.len().saturating_sub(page.len())..);
    last_page.is_some_and(|last| {
        last.len() == page.len() && last.iter().zip(page).all(|(a, b)| same(a, b))
    })
}

/// The ids of a batch's tasks: one.
fn ids(task: &InFlight) -> impl Iterator<Item = &str> {
    task.task.iter().flat_map(TaskIds::vendor_ids)
}

fn by_id(id: &str) -> Value {
    json!({ "TaskId": id })
}

/// From one time, in the local time of one zone, to another, in that of another zone.
fn between((start, end): (Timestamp, Timestamp), zones: (Offset, Offset)) -> Value {
    json!({ "StartTime": written(start, zones.0), "EndTime": written(end, zones.1) })
}

fn insert(query: &mut Value, key: &str, value: Value) {
    if let Value::Object(query) = query {
        query.insert(key.to_owned(), value);
    }
}

/// Records what the entries say about a task's targets; returns whether they say anything.
fn report_on(task: &InFlight, report: &mut Report, entries: &[Entry]) -> bool {
    let targets = Targets::new(&task.batch.targets);
    for entry in entries {
        let id = entry.task_id.as_ref().map(|id| id.0.as_str());
        let of_task = ids(task).any(|task| id == Some(task));
        let target = entry.url.as_deref().and_then(|url| targets.find(url));
        if let (true, Some(target)) = (of_task, target) {
            note(report, target, state(entry));
        }
    }
    !report.targets.is_empty()
}

/// The meaning of an entry's status word. The documents use lower case, their examples do not.
fn state(entry: &Entry) -> TargetState {
    let word = entry.status.as_deref().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "done" => TargetState::Done,
        "process" => {
            TargetState::Running(entry.percent.map(|percent| percent.clamp(0.0, 100.0) as u8))
        }
        "fail" => TargetState::Failed("Tencent Cloud reports that the task failed".to_owned()),
        "invalid" => {
            TargetState::Invalid("the origin answered the prefetch with a 4xx or 5xx".to_owned())
        }
        _ => TargetState::Unknown(word.to_owned()),
    }
}
