//! The calls that report the state of tasks.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::account::{Account, Target, TargetOutcome, Task, beijing};
use super::super::exchange::Request;
use super::{Query, Trouble, over_rate};
use crate::purge::{Mode, PurgeKind};

/// Requests per second for a task's details.
const DETAIL_RATE: usize = 30;
/// Requests per second for the list of URLs.
const URLS_RATE: usize = 5;
/// How long a task's details can be queried without its creation time.
const DETAIL_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long with its creation time.
const DETAIL_KEPT_AT_MOST: SignedDuration = SignedDuration::from_hours(15 * 24);
/// The longest period for the list of URLs, in milliseconds.
const URLS_SPAN: i64 = 24 * 3_600 * 1_000;

const STATUSES: [&str; 6] = [
    "processing",
    "succeed",
    "failed",
    "waiting",
    "refreshing",
    "preheating",
];

/// `GET historytasks/{id}/detail`.
pub(super) fn detail(
    account: &mut Account,
    id: &str,
    request: &Request,
    now: Timestamp,
) -> Result<Value, Trouble> {
    if !account.within_rate("detail", DETAIL_RATE, now) {
        return Err(over_rate(DETAIL_RATE));
    }
    let query = Query::read(
        request,
        &[
            "enterprise_project_id",
            "page_size",
            "page_number",
            "status",
            "url",
            "create_time",
        ],
    )?;
    let (size, page) = page(&query)?;
    let status = query.word("status", &STATUSES)?;
    let created = query.number("create_time", 0, i64::MAX)?;
    let kept = if created.is_some() {
        DETAIL_KEPT_AT_MOST
    } else {
        DETAIL_KEPT
    };
    let found = account
        .tasks
        .iter()
        .find(|task| task.id == id && now.duration_since(task.at) <= kept)
        .filter(|task| now >= task.at + account.listed_after);
    let Some(task) = found else {
        // The same code as for a foreign domain.
        return Err(Trouble::Business(
            "CDN.0108",
            "The task does not exist.".into(),
        ));
    };
    let wanted = |target: &&Target| {
        query.text("url").is_none_or(|url| url == target.url)
            && status.is_none_or(|status| is(task, target, status, now))
    };
    let urls: Vec<Value> = task
        .targets
        .iter()
        .filter(wanted)
        .skip((page - 1) * size)
        .take(size)
        .map(|target| {
            let failed = matches!(
                target.ended(now),
                Some(TargetOutcome::Fail | TargetOutcome::Invalid)
            );
            json!({
                "id": target.id.to_string(),
                "url": target.url,
                "status": account.words.write(word(task, target, now)),
                "create_time": task.at.as_millisecond(),
                "task_id": task.id,
                "task_type": task_type(task),
                "fail_classify": failed.then_some("ORIGIN_ERROR"),
                "fail_desc": failed.then_some("The origin server did not answer as it should."),
            })
        })
        .collect();
    let mut body = summary(task, now);
    if let Some(body) = body.as_object_mut() {
        body.insert("urls".into(), Value::Array(urls));
    }
    Ok(body)
}

/// `GET historytasks`.
pub(super) fn list(
    account: &mut Account,
    request: &Request,
    now: Timestamp,
) -> Result<Value, Trouble> {
    let query = Query::read(
        request,
        &[
            "enterprise_project_id",
            "page_size",
            "page_number",
            "status",
            "start_date",
            "end_date",
            "order_field",
            "order_type",
            "file_type",
            "task_type",
        ],
    )?;
    let (size, page) = page(&query)?;
    let status = query.word("status", &["task_inprocess", "task_done"])?;
    let file_type = query.word("file_type", &["file", "directory"])?;
    let wanted_type = query.word("task_type", &["refresh", "preheating"])?;
    let start = query.number("start_date", 0, i64::MAX)?;
    let end = query.number("end_date", 0, i64::MAX)?;
    query.word(
        "order_field",
        &[
            "task_type",
            "total",
            "processing",
            "succeed",
            "failed",
            "create_time",
        ],
    )?;
    let descending = query.word("order_type", &["desc", "asc"])? != Some("asc");
    let wanted = |task: &&Task| {
        let at = task.at.as_millisecond();
        now >= task.at + account.listed_after
            && start.is_none_or(|start| at >= start)
            && end.is_none_or(|end| at <= end)
            && status.is_none_or(|status| status == task_status(task, now))
            && file_type.is_none_or(|word| word == self::file_type(task))
            && wanted_type.is_none_or(|word| word == task_type(task))
    };
    let mut found: Vec<&Task> = account.tasks.iter().filter(wanted).collect();
    if descending {
        found.reverse();
    }
    let total = found.len();
    let tasks = found.into_iter().skip((page - 1) * size).take(size);
    let tasks: Vec<Value> = tasks.map(|task| summary(task, now)).collect();
    Ok(json!({"total": total, "tasks": tasks}))
}

/// `GET contentgateway/url-tasks`: states in upper case, as in the page's example.
pub(super) fn url_tasks(
    account: &mut Account,
    request: &Request,
    now: Timestamp,
) -> Result<Value, Trouble> {
    if !account.within_rate("url-tasks", URLS_RATE, now) {
        return Err(over_rate(URLS_RATE));
    }
    let query = Query::read(
        request,
        &[
            "start_time",
            "end_time",
            "offset",
            "limit",
            "url",
            "task_type",
            "status",
            "file_type",
        ],
    )?;
    let start = query.number("start_time", 0, i64::MAX)?;
    let end = query.number("end_time", 0, i64::MAX)?;
    let (start, end) = match (start, end) {
        (Some(start), Some(end)) if end >= start && end - start <= URLS_SPAN => (start, end),
        (Some(_), Some(_)) => {
            return Err(Trouble::Business(
                "CDN.0202",
                "The query time is wrong: at most 24 hours.".into(),
            ));
        }
        (None, None) => today(now),
        (Some(_), None) | (None, Some(_)) => {
            return Err(Trouble::Parameter(
                "start_time and end_time go together".into(),
            ));
        }
    };
    let offset = query.number("offset", 0, i64::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1, 100)?.unwrap_or(10);
    let kind = query.word("task_type", &["REFRESH", "PREHEATING"])?;
    let status = query.word("status", &STATUSES)?;
    let file_type = query.word("file_type", &["file", "directory"])?;
    let wanted = |task: &&Task| {
        let at = task.at.as_millisecond();
        now >= task.at + account.listed_after
            && (start..=end).contains(&at)
            && kind.is_none_or(|word| word.eq_ignore_ascii_case(task_type(task)))
            && file_type.is_none_or(|word| word == self::file_type(task))
    };
    let mut found: Vec<(&Task, &Target)> = Vec::new();
    for task in account.tasks.iter().rev().filter(wanted) {
        let targets = task.targets.iter().filter(|target| {
            query
                .text("url")
                .is_none_or(|url| url.is_empty() || url == target.url)
                && status.is_none_or(|status| is(task, target, status, now))
        });
        found.extend(targets.map(|target| (task, target)));
    }
    let total = found.len();
    let page: Vec<Value> = found
        .into_iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .take(usize::try_from(limit).unwrap_or(10))
        .map(|(task, target)| {
            let mut line = json!({
                "id": target.id,
                "url": target.url,
                "status": account.words.write(&word(task, target, now).to_uppercase()),
                "type": task_type(task).to_uppercase(),
                "task_id": task.id.parse::<u64>().unwrap_or(0),
                "modify_time": target.ends_at().min(now).as_millisecond(),
                "create_time": task.at.as_millisecond(),
                "file_type": self::file_type(task),
            });
            if let (Some(mode), Some(line)) = (task.mode, line.as_object_mut()) {
                line.insert("mode".into(), json!(mode_word(mode)));
            }
            line
        })
        .collect();
    Ok(json!({"total": total, "count": page.len(), "result": page}))
}

/// The requested page: size and number are given together or not at all.
fn page(query: &Query) -> Result<(usize, usize), Trouble> {
    let size = query.number("page_size", 1, 10_000)?;
    let number = query.number("page_number", 1, 65_535)?;
    match (size, number) {
        (None, None) => Ok((30, 1)),
        (Some(size), Some(number)) => Ok((
            usize::try_from(size).unwrap_or(30),
            usize::try_from(number).unwrap_or(1),
        )),
        (Some(_), None) | (None, Some(_)) => Err(Trouble::Parameter(
            "page_size and page_number go together".into(),
        )),
    }
}

/// From 00:00 of today to 00:00 of tomorrow, in milliseconds.
fn today(now: Timestamp) -> (i64, i64) {
    let local = now.to_zoned(beijing());
    let start = local
        .start_of_day()
        .map_or(0, |zoned| zoned.timestamp().as_millisecond());
    (start, start + URLS_SPAN)
}

fn summary(task: &Task, now: Timestamp) -> Value {
    let count = |wanted: fn(Option<TargetOutcome>) -> bool| {
        task.targets.iter().filter(|t| wanted(t.ended(now))).count()
    };
    json!({
        "id": task.id,
        "task_type": task_type(task),
        "status": task_status(task, now),
        "processing": count(|outcome| outcome.is_none()),
        "succeed": count(|outcome| outcome == Some(TargetOutcome::Done)),
        "failed": count(|outcome| matches!(outcome, Some(TargetOutcome::Fail | TargetOutcome::Invalid))),
        "total": task.targets.len(),
        "create_time": task.at.as_millisecond(),
        "file_type": file_type(task),
        "mode": task.mode.map(mode_word),
    })
}

/// Whether a filter's word matches a target's state: `processing` matches any that has not ended.
fn is(task: &Task, target: &Target, status: &str, now: Timestamp) -> bool {
    status == word(task, target, now) || (status == "processing" && target.ended(now).is_none())
}

/// The word for a target's state: waiting, processing, or ended.
fn word(task: &Task, target: &Target, now: Timestamp) -> &'static str {
    match target.ended(now) {
        Some(TargetOutcome::Done) => "succeed",
        Some(TargetOutcome::Fail | TargetOutcome::Invalid) => "failed",
        Some(TargetOutcome::Never) | None => {
            let half = (task.at.as_millisecond() + target.ends_at().as_millisecond()) / 2;
            match (now.as_millisecond() < half, task.kind) {
                (true, _) => "waiting",
                (false, PurgeKind::Url) => "processing",
                (false, PurgeKind::Directory) => "refreshing",
                (false, PurgeKind::Prefetch) => "preheating",
            }
        }
    }
}

fn task_status(task: &Task, now: Timestamp) -> &'static str {
    if task.targets.iter().all(|t| t.ended(now).is_some()) {
        "task_done"
    } else {
        "task_inprocess"
    }
}

fn task_type(task: &Task) -> &'static str {
    match task.kind {
        PurgeKind::Url | PurgeKind::Directory => "refresh",
        PurgeKind::Prefetch => "preheating",
    }
}

fn file_type(task: &Task) -> &'static str {
    match task.kind {
        PurgeKind::Url | PurgeKind::Prefetch => "file",
        PurgeKind::Directory => "directory",
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Delete => "all",
        Mode::Flush => "detect_modify_refresh",
    }
}
