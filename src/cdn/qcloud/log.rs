//! The logs of API 2.0: `GetCdnRefreshLog` for purges, `GetPushLogs` for prefetches.
//!
//! A purge log has one entry per submission (and host), whose id is not the task's. So a batch is found by its task
//! id if it has one, and otherwise by its URLs and its time: directories get no id at all.

use std::collections::BTreeSet;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Answered, Client};
use crate::cdn::history::written_after;
use crate::cdn::local_time::{CHINA, written};
use crate::cdn::matching::{AnyId, Targets, note};
use crate::cdn::{CdnError, ErrorClass, FEW_TASKS, InFlight, Paced, Report, TargetState};
use crate::purge::{PurgeKind, TaskId, TaskIds};

/// Entries of the prefetch log per request; the purge log is not paged.
const PAGE: usize = 100;

/// One entry of either log.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    #[serde(default, alias = "log_id")]
    id: Option<AnyId>,
    #[serde(default)]
    task_id: Option<AnyId>,
    /// Purges: 0 for URLs, 1 for directories.
    #[serde(default, rename = "type")]
    of: Option<AnyId>,
    /// Purges: 1 done, 0 running, negative failed. Prefetches: a word.
    #[serde(default)]
    status: Option<AnyId>,
    #[serde(default)]
    url_list: Option<Vec<String>>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    percent: Value,
    #[serde(default)]
    datetime: Option<String>,
}

/// The entries, and how far the server's clock is ahead.
struct Listed {
    entries: Vec<Entry>,
    ahead: SignedDuration,
}

/// The task ids in the answer to a submission. A prefetch becomes one task per host.
pub fn task(data: &Value) -> Option<TaskIds> {
    let id = |value: &Value| {
        let id = AnyId::deserialize(value).ok()?;
        id.task().map(str::to_owned)
    };
    let tasks = match data.get("task_ids") {
        Some(Value::Array(tasks)) => tasks.iter().collect(),
        Some(task) => vec![task],
        None => Vec::new(),
    };
    let ids = tasks
        .into_iter()
        .filter_map(|task| id(task.get("task_id").unwrap_or(task)));
    TaskIds::new(ids.map(TaskId::Vendor)).or_else(|| {
        let task_id = data.get("task_id").and_then(id).map(TaskId::Vendor);
        let log_id = || data.get("log_id").and_then(id).map(TaskId::LogEntry);
        task_id.or_else(log_id).map(TaskIds::from)
    })
}

/// The state of tasks, one report per task. A task without an id is found by its URLs and its time.
pub async fn follow(
    client: &Client,
    tasks: &[InFlight],
    requests: &mut Paced<'_>,
) -> Result<Vec<Report>, CdnError> {
    let mut reports = vec![Report::default(); tasks.len()];
    for prefetches in [false, true] {
        let mut of_log: Vec<(&InFlight, &mut Report)> = tasks
            .iter()
            .zip(&mut reports)
            .filter(|(task, _)| (task.batch.kind == PurgeKind::Prefetch) == prefetches)
            .collect();
        let by_id = |task: &InFlight| task_ids(task).next().is_some();
        if of_log.len() > FEW_TASKS || of_log.iter().any(|(task, _)| !by_id(task)) {
            follow_window(client, &mut of_log, requests).await?;
        }
        // Tasks that the period did not show are queried by id, a few at a time, the oldest first.
        of_log.retain(|(task, report)| by_id(task) && report.targets.is_empty());
        of_log.sort_by_key(|(task, _)| task.submitted_at);
        for (task, report) in of_log.into_iter().take(FEW_TASKS) {
            for id in task_ids(task) {
                let listed = ask_for(client, task, id, requests).await?;
                let targets = Targets::new(&task.batch.targets);
                for entry in listed.entries.iter().filter(|entry| is_of(entry, task)) {
                    note_all(report, &targets, entry);
                }
            }
        }
    }
    Ok(reports)
}

async fn follow_window(
    client: &Client,
    tasks: &mut [(&InFlight, &mut Report)],
    requests: &mut Paced<'_>,
) -> Result<(), CdnError> {
    let times = || tasks.iter().map(|(task, _)| task.submitted_at);
    let (Some((task, _)), Some(first), Some(last)) = (tasks.first(), times().min(), times().max())
    else {
        return Ok(());
    };
    let window = between(client.around(first, last), CHINA, Map::new());
    let listed = list(client, task.batch.kind, window, requests).await?;
    for (task, report) in tasks {
        report_on(task, report, &listed);
    }
    Ok(())
}

/// Looks for a batch whose answer was lost: the task that was logged when it was sent and has all of its targets.
pub async fn find(
    client: &Client,
    lost: &InFlight,
    told: &BTreeSet<TaskId>,
    requests: &mut Paced<'_>,
) -> Result<Option<TaskIds>, CdnError> {
    let (from, to) = client.around(lost.submitted_at, lost.submitted_at);
    let mut query =
        json!({ "startDate": written(from, Offset::UTC), "endDate": written(to, CHINA) });
    // Entries are per host, so only a single target can narrow the query.
    if let (Value::Object(query), [only]) = (&mut query, lost.batch.targets.as_slice()) {
        let filter = match lost.batch.kind {
            PurgeKind::Url | PurgeKind::Directory => "url",
            PurgeKind::Prefetch => "keyword",
        };
        query.insert(filter.to_owned(), json!(only));
    }
    let listed = list(client, lost.batch.kind, query, requests).await?;
    let mut names = names_of_all(lost, &listed, told);
    // Entries without a task id may belong to another batch, which is therefore queried by its id.
    if names.iter().any(|name| matches!(name, TaskId::LogEntry(_))) {
        let mut others = told.clone();
        for id in told {
            let TaskId::Vendor(id) = id else {
                continue;
            };
            let its = ask_for(client, lost, id, requests).await?;
            if its.entries.is_empty() {
                return Ok(None);
            }
            others.extend(its.entries.iter().filter_map(name));
        }
        names = names_of_all(lost, &listed, &others);
    }
    Ok(TaskIds::new(names))
}

/// The ids of entries that match a batch and do not belong to others; none unless they contain all of its targets.
fn names_of_all(lost: &InFlight, listed: &Listed, others: &BTreeSet<TaskId>) -> BTreeSet<TaskId> {
    let entries = nearest(lost, listed, others);
    let urls = entries.iter().flat_map(|entry| urls(entry));
    if !Targets::new(&lost.batch.targets).all_in(urls) {
        return BTreeSet::new();
    }
    entries.into_iter().filter_map(name).collect()
}

/// The entries that match a batch's kind, URLs and time and do not belong to others; for each target those nearest
/// in time.
fn nearest<'l>(task: &InFlight, listed: &'l Listed, others: &BTreeSet<TaskId>) -> Vec<&'l Entry> {
    let targets = Targets::new(&task.batch.targets);
    let mut fitting: Vec<(SignedDuration, &Entry)> = listed
        .entries
        .iter()
        .filter(|entry| is_of(entry, task))
        .filter(|entry| name(entry).is_none_or(|name| !others.contains(&name)))
        .filter_map(|entry| {
            let text = entry.datetime.as_deref()?;
            let after = written_after(text, task.submitted_at, listed.ahead)?;
            Some((after.abs(), entry))
        })
        .collect();
    fitting.sort_by_key(|(distance, _)| *distance);
    let mut found = std::collections::HashSet::new();
    fitting
        .into_iter()
        .filter(|(_, entry)| {
            let mut new = false;
            for target in urls(entry).filter_map(|url| targets.find(url)) {
                new |= found.insert(target);
            }
            new
        })
        .map(|(_, entry)| entry)
        .collect()
}

/// Records what the log says about a task: by its ids, or without any by URLs and time.
fn report_on(task: &InFlight, report: &mut Report, listed: &Listed) {
    let targets = Targets::new(&task.batch.targets);
    let ids: Vec<&TaskId> = task.task.iter().flat_map(TaskIds::iter).collect();
    let named = |entry: &&Entry| {
        let by_task = entry
            .task_id
            .as_ref()
            .map(|id| TaskId::Vendor(id.0.clone()));
        let by_entry = name(entry);
        ids.iter()
            .any(|id| by_task.as_ref() == Some(id) || by_entry.as_ref() == Some(id))
    };
    let by_id: Vec<&Entry> = listed.entries.iter().filter(named).collect();
    let known_by_task = listed.entries.iter().any(|entry| entry.task_id.is_some());
    let entries = if by_id.is_empty() && (ids.is_empty() || !known_by_task) {
        nearest(task, listed, &BTreeSet::new())
    } else {
        by_id
    };
    for entry in entries {
        note_all(report, &targets, entry);
    }
}

fn note_all(report: &mut Report, targets: &Targets<'_>, entry: &Entry) {
    for target in urls(entry).filter_map(|url| targets.find(url)) {
        note(report, target, state(entry));
    }
}

fn urls(entry: &Entry) -> impl Iterator<Item = &str> {
    let listed = entry.url_list.iter().flatten();
    listed.chain(&entry.url).map(String::as_str)
}

/// The id of an entry's task: the task's own, or the entry's.
fn name(entry: &Entry) -> Option<TaskId> {
    let id = |id: &Option<AnyId>| Some(id.as_ref()?.task()?.to_owned());
    let by_entry = || id(&entry.id).map(TaskId::LogEntry);
    id(&entry.task_id).map(TaskId::Vendor).or_else(by_entry)
}

/// The ids that the API gave the task.
fn task_ids(task: &InFlight) -> impl Iterator<Item = &str> {
    task.task.iter().flat_map(TaskIds::vendor_ids)
}

/// Whether an entry has a batch's kind, if the entry names one.
fn is_of(entry: &Entry, task: &InFlight) -> bool {
    let of = entry.of.as_ref().map(|of| of.0.as_str());
    match task.batch.kind {
        PurgeKind::Url => of != Some("1"),
        PurgeKind::Directory => of != Some("0"),
        PurgeKind::Prefetch => true,
    }
}

fn state(entry: &Entry) -> TargetState {
    let word = entry.status.as_ref().map_or("", |status| status.0.as_str());
    match (word.parse::<i64>(), word.to_ascii_lowercase().as_str()) {
        (Ok(1), _) | (_, "done") => TargetState::Done,
        (Ok(0), _) | (_, "init" | "queue" | "process") => {
            let percent = entry.percent.as_f64();
            TargetState::Running(percent.map(|percent| percent.clamp(0.0, 100.0) as u8))
        }
        (Ok(..0), _) | (_, "fail") => {
            TargetState::Failed(format!("QCloud CDN reports that it failed (status {word})"))
        }
        _ => TargetState::Unknown(word.to_owned()),
    }
}

/// Queries one task by its id. Tasks of `CdnPusherV2` are only found by id and dates together.
async fn ask_for(
    client: &Client,
    task: &InFlight,
    id: &str,
    requests: &mut Paced<'_>,
) -> Result<Listed, CdnError> {
    let query = Map::from_iter([("taskId".to_owned(), json!(id))]);
    let query = match task.batch.kind {
        PurgeKind::Url | PurgeKind::Directory => Value::Object(query),
        PurgeKind::Prefetch => {
            let window = client.around(task.submitted_at, task.submitted_at);
            between(window, CHINA, query)
        }
    };
    list(client, task.batch.kind, query, requests).await
}

fn between(
    (from, to): (Timestamp, Timestamp),
    zone: Offset,
    mut query: Map<String, Value>,
) -> Value {
    query.insert("startDate".to_owned(), json!(written(from, zone)));
    query.insert("endDate".to_owned(), json!(written(to, zone)));
    Value::Object(query)
}

/// All entries of a query; the prefetch log is paged.
async fn list(
    client: &Client,
    kind: PurgeKind,
    mut query: Value,
    requests: &mut Paced<'_>,
) -> Result<Listed, CdnError> {
    let (action, paged) = match kind {
        PurgeKind::Url | PurgeKind::Directory => ("GetCdnRefreshLog", false),
        PurgeKind::Prefetch => ("GetPushLogs", true),
    };
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        if let (true, Value::Object(query)) = (paged, &mut query) {
            query.insert("offset".to_owned(), json!(entries.len()));
            query.insert("limit".to_owned(), json!(PAGE));
        }
        let answered = ask_widening(client, action, &mut query, entries.len(), requests).await?;
        let page = read(&answered.data);
        let total = answered
            .data
            .get("total")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let (more, got) = (total > (entries.len() + page.len()) as u64, page.len());
        entries.extend(page);
        if !paged || !more || got == 0 {
            return Ok(Listed {
                entries,
                ahead: answered.ahead,
            });
        }
    }
}

/// Sends a query; if the dates are reported as invalid, repeats it with one more day on each side. "The date is
/// invalid" means that the task was not submitted between them, and says nothing about the purge.
async fn ask_widening(
    client: &Client,
    action: &str,
    query: &mut Value,
    held: usize,
    requests: &mut Paced<'_>,
) -> Result<Answered, CdnError> {
    match requests.ask(held, || client.ask(action, query)).await {
        Err(error) if says_invalid_date(&error) && widen(query) => {
            let answered = requests.ask(held, || client.ask(action, query)).await;
            answered.map_err(|mut error| {
                if says_invalid_date(&error) {
                    error.class = ErrorClass::Retry;
                }
                error
            })
        }
        answered => answered,
    }
}

fn says_invalid_date(error: &CdnError) -> bool {
    let message = error.message.to_lowercase();
    message.contains("date is invalid") || message.contains("日期不合法")
}

fn widen(query: &mut Value) -> bool {
    let day = SignedDuration::from_hours(24);
    let mut widened = false;
    for (name, by) in [("startDate", -day), ("endDate", day)] {
        let date = query.get(name).and_then(Value::as_str);
        let date = date.and_then(|text| crate::cdn::local_time::read(text, CHINA));
        if let Some(date) = date.and_then(|date| date.checked_add(by).ok()) {
            query[name] = json!(written(date, CHINA));
            widened = true;
        }
    }
    widened
}

/// The entries of an answer: a list, an object of them, or nothing. Other values are skipped.
fn read(data: &Value) -> Vec<Entry> {
    let entry = |value: &Value| Entry::deserialize(value).ok();
    match data.get("logs") {
        Some(Value::Array(logs)) => logs.iter().filter_map(entry).collect(),
        Some(Value::Object(logs)) => logs.values().filter_map(entry).collect(),
        Some(_) | None => Vec::new(),
    }
}
