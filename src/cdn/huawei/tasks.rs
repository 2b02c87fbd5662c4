//! Reads the state of tasks: task by task (`historytasks/{id}/detail`), or for all URLs of a period at once
//! (`contentgateway/url-tasks`) if the account may do that.
//!
//! `task_done` only means that a task has ended. The status of each URL is what counts.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::HuaweiCdn;
use super::client::{Call, is_wrong_signature};
use crate::cdn::history::logged_after;
use crate::cdn::matching::{AnyId, Targets, note};
use crate::cdn::{
    CdnError, ErrorClass, FEW_TASKS, FailureKind, InFlight, Paced, Report, TargetState,
};
use crate::purge::{PurgeKind, TaskId, TaskIds};

/// URLs of a task per request: a whole batch. The API allows 10,000.
const DETAIL_PAGE: usize = 1_000;
/// URLs of a period per request, the API's maximum.
const WINDOW_PAGE: usize = 100;
/// The longest period that the API accepts.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// The errors for an unknown task id, or one that is not known yet.
const UNKNOWN_TASK: [&str; 2] = ["CDN.0108", "CDN.0003"];

/// One URL of a task.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    task_id: Option<AnyId>,
    #[serde(default)]
    url: Option<String>,
    /// One call returns it in lower case, the other in upper case.
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    fail_desc: Option<String>,
    /// Milliseconds since 1970.
    #[serde(default)]
    create_time: Option<i64>,
}

/// An entry of the list of tasks.
#[derive(Clone, Debug, Deserialize)]
struct Task {
    #[serde(default)]
    id: Option<AnyId>,
    #[serde(default)]
    create_time: Option<i64>,
}

/// The entries of a query, and how far the server's clock is ahead.
struct Listed<T> {
    entries: Vec<T>,
    ahead: SignedDuration,
}

/// A paged query: the call, the field of its list, and how its pages are requested.
struct Query {
    path: String,
    parameters: Vec<(String, String)>,
    /// The field that holds the list.
    list: &'static str,
    page: usize,
    /// Paging by `offset` and `limit`, or by `page_number` (from 1) and `page_size`.
    by_offset: bool,
}

/// The state of tasks, one report per task.
pub(super) async fn follow(
    cdn: &HuaweiCdn,
    tasks: &[InFlight],
    requests: &mut Paced<'_>,
) -> Result<Vec<Report>, CdnError> {
    let mut reports = vec![Report::default(); tasks.len()];
    for prefetches in [false, true] {
        let mut of_type: Vec<(&InFlight, &mut Report)> = tasks
            .iter()
            .zip(&mut reports)
            .filter(|(task, _)| task.task.is_some())
            .filter(|(task, _)| (task.batch.kind == PurgeKind::Prefetch) == prefetches)
            .collect();
        if of_type.len() > FEW_TASKS && follow_window(cdn, &mut of_type, requests).await? {
            // Tasks that the period did not show are queried individually, a few at a time, the oldest first.
            of_type.retain(|(_, report)| report.targets.is_empty());
            of_type.sort_by_key(|(task, _)| task.submitted_at);
            of_type.truncate(FEW_TASKS);
        }
        for (task, report) in of_type {
            for id in ids(task) {
                let listed = detail(cdn, id, requests).await?;
                note_all(task, report, listed.entries.iter());
            }
        }
    }
    Ok(reports)
}

/// Queries all URLs of the period in which the tasks were submitted. Returns whether that was possible and takes
/// fewer requests than querying each task.
async fn follow_window(
    cdn: &HuaweiCdn,
    tasks: &mut [(&InFlight, &mut Report)],
    requests: &mut Paced<'_>,
) -> Result<bool, CdnError> {
    let times = || tasks.iter().map(|(task, _)| task.submitted_at);
    let (Some((task, _)), Some(first), Some(last)) = (tasks.first(), times().min(), times().max())
    else {
        return Ok(false);
    };
    let window = cdn.client.around(first, last);
    if window.1.duration_since(window.0) > LONGEST_WINDOW {
        return Ok(false);
    }
    let query = url_tasks(task.batch.kind, window);
    let most = tasks.iter().map(|(task, _)| ids(task).count()).sum();
    let Some(listed) = ask_url_tasks(cdn, query, most, requests).await? else {
        return Ok(false);
    };
    for (task, report) in tasks {
        let of_task = |entry: &&Entry| {
            let id = entry.task_id.as_ref().map(|id| id.0.as_str());
            ids(task).any(|task| id == Some(task))
        };
        note_all(task, report, listed.entries.iter().filter(of_task));
    }
    Ok(true)
}

/// Looks for a batch whose answer was lost: the task that was created when it was sent and has all of its targets.
pub(super) async fn find(
    cdn: &HuaweiCdn,
    lost: &InFlight,
    others: &BTreeSet<TaskId>,
    requests: &mut Paced<'_>,
) -> Result<Option<TaskIds>, CdnError> {
    let Some(first) = lost.batch.targets.first() else {
        return Ok(None);
    };
    let wanted = Targets::new(&lost.batch.targets);
    for id in candidates(cdn, lost, first, requests).await? {
        let task = TaskId::Vendor(id.clone());
        if others.contains(&task) {
            continue;
        }
        let listed = detail(cdn, &id, requests).await?;
        let urls = listed
            .entries
            .iter()
            .filter_map(|entry| entry.url.as_deref());
        if wanted.all_in(urls) {
            return Ok(Some(task.into()));
        }
    }
    Ok(None)
}

/// The tasks that were created when a batch was sent, the nearest first: those with its first target, or all.
async fn candidates(
    cdn: &HuaweiCdn,
    lost: &InFlight,
    first: &str,
    requests: &mut Paced<'_>,
) -> Result<Vec<String>, CdnError> {
    let window = cdn.client.around(lost.submitted_at, lost.submitted_at);
    let mut query = url_tasks(lost.batch.kind, window);
    query.parameters.push(pair("url", first));
    let by_url = ask_url_tasks(cdn, query, usize::MAX, requests).await?;
    let (made, ahead): (Vec<_>, _) = match by_url {
        Some(listed) => {
            let made = |entry: Entry| Some((entry.task_id?, entry.create_time?));
            let made = listed.entries.into_iter().filter_map(made);
            (made.collect(), listed.ahead)
        }
        None => {
            let listed = list_tasks(cdn, lost.batch.kind, window, requests).await?;
            let made = |task: Task| Some((task.id?, task.create_time?));
            let made = listed.entries.into_iter().filter_map(made);
            (made.collect(), listed.ahead)
        }
    };
    let mut near: Vec<(SignedDuration, String)> = made
        .into_iter()
        .filter_map(|(id, created)| {
            let created = Timestamp::from_millisecond(created).ok()?;
            let after = logged_after(created, lost.submitted_at, ahead)?;
            Some((after.abs(), id.task()?.to_owned()))
        })
        .collect();
    near.sort();
    near.dedup_by(|a, b| a.1 == b.1);
    Ok(near.into_iter().map(|(_, id)| id).collect())
}

/// All URLs of a task; empty if the task is not known, as may be the case for a new one.
async fn detail(
    cdn: &HuaweiCdn,
    id: &str,
    requests: &mut Paced<'_>,
) -> Result<Listed<Entry>, CdnError> {
    let query = Query {
        path: format!("/v1.0/cdn/historytasks/{id}/detail"),
        parameters: cdn.project(),
        list: "urls",
        page: DETAIL_PAGE,
        by_offset: false,
    };
    match ask(cdn, "historytasks/detail", query, usize::MAX, requests).await {
        Ok(listed) => Ok(listed.unwrap_or_else(nothing)),
        Err(error) if is_unknown_task(&error) => Ok(nothing()),
        Err(error) => Err(error),
    }
}

fn is_unknown_task(error: &CdnError) -> bool {
    let code = error.vendor_code();
    code.is_some_and(|code| UNKNOWN_TASK.contains(&code))
}

/// All tasks of a period.
async fn list_tasks(
    cdn: &HuaweiCdn,
    kind: PurgeKind,
    window: (Timestamp, Timestamp),
    requests: &mut Paced<'_>,
) -> Result<Listed<Task>, CdnError> {
    let (task_type, file_type) = match kind {
        PurgeKind::Url => ("refresh", Some("file")),
        PurgeKind::Directory => ("refresh", Some("directory")),
        PurgeKind::Prefetch => ("preheating", None),
    };
    let mut parameters = cdn.project();
    parameters.push(pair("task_type", task_type));
    parameters.extend(file_type.map(|file_type| pair("file_type", file_type)));
    parameters.push(pair("start_date", window.0.as_millisecond()));
    parameters.push(pair("end_date", window.1.as_millisecond()));
    let query = Query {
        path: "/v1.0/cdn/historytasks".to_owned(),
        parameters,
        list: "tasks",
        page: DETAIL_PAGE,
        by_offset: false,
    };
    let listed = ask(cdn, "historytasks", query, usize::MAX, requests).await?;
    Ok(listed.unwrap_or_else(nothing))
}

fn url_tasks(kind: PurgeKind, window: (Timestamp, Timestamp)) -> Query {
    let task_type = match kind {
        PurgeKind::Url | PurgeKind::Directory => "REFRESH",
        PurgeKind::Prefetch => "PREHEATING",
    };
    Query {
        path: "/v1.0/cdn/contentgateway/url-tasks".to_owned(),
        parameters: vec![
            pair("start_time", window.0.as_millisecond()),
            pair("end_time", window.1.as_millisecond()),
            pair("task_type", task_type),
        ],
        list: "result",
        page: WINDOW_PAGE,
        by_offset: true,
    }
}

/// Queries the URLs of a period. None if the account may not do that (some must request it with a ticket), or if it
/// takes too many pages.
async fn ask_url_tasks(
    cdn: &HuaweiCdn,
    query: Query,
    most: usize,
    requests: &mut Paced<'_>,
) -> Result<Option<Listed<Entry>>, CdnError> {
    if cdn.url_tasks_refused.load(Ordering::Relaxed) {
        return Ok(None);
    }
    match ask(cdn, "url-tasks", query, most, requests).await {
        Err(error) if means_not_allowed(&error) => {
            cdn.url_tasks_refused.store(true, Ordering::Relaxed);
            Ok(None)
        }
        // An error of this query (a URL of a deleted domain) need not affect the next one.
        Err(error) if error.class == ErrorClass::BadInput => Ok(None),
        answered => answered,
    }
}

/// Not for a wrong signature: trying that again on another path would count towards the lock of the access key.
fn means_not_allowed(error: &CdnError) -> bool {
    let by_code = error.class == ErrorClass::Operator && !is_wrong_signature(error);
    by_code || matches!(error.kind, FailureKind::HttpStatus(403 | 404))
}

/// All entries of a query, page by page. None if that takes more pages than `most`.
async fn ask<T: DeserializeOwned>(
    cdn: &HuaweiCdn,
    what: &str,
    query: Query,
    most: usize,
    requests: &mut Paced<'_>,
) -> Result<Option<Listed<T>>, CdnError> {
    let mut entries = Vec::new();
    let mut last_page = Value::Null;
    for number in 1_usize.. {
        let mut parameters = query.parameters.clone();
        if query.by_offset {
            parameters.push(pair("offset", entries.len()));
            parameters.push(pair("limit", query.page));
        } else {
            parameters.push(pair("page_number", number));
            parameters.push(pair("page_size", query.page));
        }
        let call = Call {
            what: what.to_owned(),
            path: query.path.clone(),
            query: parameters,
            body: None,
        };
        let ask = || cdn.client.call(&call);
        let answered = requests.ask(entries.len(), ask).await?;
        let list = answered.body.get(query.list).cloned().unwrap_or_default();
        let page = list.as_array().map_or(0, Vec::len);
        let total = answered.body.get("total").and_then(Value::as_u64);
        let total = total.and_then(|total| usize::try_from(total).ok());
        let pages = total.unwrap_or(page).div_ceil(page.max(1));
        if number == 1 && pages > most {
            return Ok(None);
        }
        // A server that ignores the page number returns the same page for ever.
        let nothing_new = page == 0 || list == last_page;
        if !nothing_new {
            let read = |value: &Value| T::deserialize(value);
            let read: Result<Vec<T>, _> = list.as_array().into_iter().flatten().map(read).collect();
            entries.extend(
                read.map_err(|why| cdn.client.malformed(&call, &answered, &why.to_string()))?,
            );
        }
        if nothing_new || entries.len() >= total.unwrap_or(entries.len()) {
            return Ok(Some(Listed {
                entries,
                ahead: answered.ahead,
            }));
        }
        last_page = list;
    }
    Ok(None)
}

fn nothing<T>() -> Listed<T> {
    Listed {
        entries: Vec::new(),
        ahead: SignedDuration::ZERO,
    }
}

fn pair(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// The ids of a batch's tasks: usually one.
fn ids(task: &InFlight) -> impl Iterator<Item = &str> {
    task.task.iter().flat_map(TaskIds::vendor_ids)
}

fn note_all<'e>(task: &InFlight, report: &mut Report, entries: impl Iterator<Item = &'e Entry>) {
    let targets = Targets::new(&task.batch.targets);
    for entry in entries {
        if let Some(target) = entry.url.as_deref().and_then(|url| targets.find(url)) {
            note(report, target, state(entry));
        }
    }
}

fn state(entry: &Entry) -> TargetState {
    let word = entry.status.as_deref().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "succeed" => TargetState::Done,
        "processing" | "waiting" | "refreshing" | "preheating" => TargetState::Running(None),
        "failed" => TargetState::Failed(match entry.fail_desc.as_deref() {
            Some(why) if !why.is_empty() => format!("Huawei CDN reports that it failed: {why}"),
            Some(_) | None => "Huawei CDN reports that it failed".to_owned(),
        }),
        _ => TargetState::Unknown(word.to_owned()),
    }
}
