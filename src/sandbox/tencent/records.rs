//! The actions that list tasks, with the state of each URL.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::account::{
    Account, Area, Target, TargetOutcome, Task, beijing_time, parse_beijing_time,
};
use super::Product;
use super::desk::{Desk, Fields, bad};
use super::parameters::Parameters;
use super::signature::Refused;
use crate::purge::{Mode, PurgeKind};

/// How long records can be asked for (documented for the console and for API 2.0).
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn describe_purges(
    desk: &mut Desk<'_>,
    parameters: &mut Parameters,
) -> Result<Fields, Refused> {
    let kinds = match parameters.word("PurgeType", &["url", "path"])?.as_deref() {
        Some("url") => vec![PurgeKind::Url],
        Some(_) => vec![PurgeKind::Directory],
        None => vec![PurgeKind::Url, PurgeKind::Directory],
    };
    let status = parameters.word("Status", &["fail", "done", "process"])?;
    let query = Query::read(parameters, kinds, status, desk.product)?;
    let (account, now) = (&*desk.account, desk.now);
    let (total, page) = query.run(account, now);
    let logs: Vec<Value> = page
        .iter()
        .map(|(task, target)| {
            json!({
                "TaskId": task.id,
                "Url": target.url,
                "Status": account.words.write(example_word(target, now)),
                "PurgeType": if task.kind == PurgeKind::Url { "url" } else { "path" },
                "FlushType": task.mode.map_or("flush", Mode::as_str),
                "CreateTime": beijing_time(task.at),
            })
        })
        .collect();
    Ok(Fields::from_iter([
        ("PurgeLogs".to_owned(), json!(logs)),
        ("TotalCount".to_owned(), json!(total)),
    ]))
}

pub(super) fn describe_pushes(
    desk: &mut Desk<'_>,
    parameters: &mut Parameters,
) -> Result<Fields, Refused> {
    let status = parameters.word("Status", &["fail", "done", "process", "invalid"])?;
    let query = Query::read(parameters, vec![PurgeKind::Prefetch], status, desk.product)?;
    let (account, now) = (&*desk.account, desk.now);
    let (total, page) = query.run(account, now);
    let logs: Vec<Value> = page
        .iter()
        .map(|(task, target)| {
            let ended = target.ended(now);
            json!({
                "TaskId": task.id,
                "Url": target.url,
                "Status": account.words.write(example_word(target, now)),
                "Percent": if ended.is_some() { 100 } else { percent(task, target, now) },
                "CreateTime": beijing_time(task.at),
                "Area": task.area.as_str(),
                "UpdateTime": ended.map(|_| beijing_time(target.ends_at())),
            })
        })
        .collect();
    // "This field may return null": and it does where there is nothing to tell.
    let (logs, total) = match total {
        0 => (Value::Null, Value::Null),
        total => (json!(logs), json!(total)),
    };
    Ok(Fields::from_iter([
        ("PushLogs".to_owned(), logs),
        ("TotalCount".to_owned(), total),
    ]))
}

/// The word of the filter for a target's state.
fn word(target: &Target, now: Timestamp) -> &'static str {
    match target.ended(now) {
        None | Some(TargetOutcome::Never) => "process",
        Some(TargetOutcome::Done) => "done",
        Some(TargetOutcome::Fail) => "fail",
        Some(TargetOutcome::Invalid) => "invalid",
    }
}

/// The word of the answer: the filters are documented as `done`, the examples show `Done`.
fn example_word(target: &Target, now: Timestamp) -> &'static str {
    match word(target, now) {
        "done" => "Done",
        other => other,
    }
}

fn percent(task: &Task, target: &Target, now: Timestamp) -> i64 {
    let whole = target.ends_at().as_millisecond() - task.at.as_millisecond();
    let gone = now.as_millisecond() - task.at.as_millisecond();
    (gone * 100 / whole.max(1)).clamp(0, 99)
}

/// What a list is asked for.
struct Query {
    kinds: Vec<PurgeKind>,
    status: Option<String>,
    task: Option<String>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    keyword: Option<String>,
    area: Option<Area>,
    offset: usize,
    limit: usize,
}

impl Query {
    fn read(
        parameters: &mut Parameters,
        kinds: Vec<PurgeKind>,
        status: Option<String>,
        product: Product,
    ) -> Result<Self, Refused> {
        let task = parameters.text("TaskId")?;
        let start = time(parameters, "StartTime")?;
        let end = time(parameters, "EndTime")?;
        if task.as_deref().unwrap_or_default().is_empty() && start.is_none() {
            return Err(bad("either TaskId or StartTime must be given"));
        }
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            return Err(invalid_date("EndTime is before StartTime"));
        }
        let keyword = parameters.text("Keyword")?;
        let area = match product {
            Product::Ecdn => None,
            Product::Cdn => parameters.word("Area", &["mainland", "overseas", "global"])?,
        };
        let area = area.as_deref().and_then(|area| area.parse().ok());
        let size = |number: Option<i64>, or: usize| match number {
            None => Ok(or),
            Some(number) => usize::try_from(number).map_err(|_| bad("a negative number")),
        };
        let offset = size(parameters.number("Offset")?, 0)?;
        let limit = size(parameters.number("Limit")?, 20)?;
        if limit == 0 {
            return Err(bad("Limit must be positive"));
        }
        parameters.unknown()?;
        Ok(Self {
            kinds,
            status,
            task,
            start,
            end,
            keyword,
            area,
            offset,
            limit,
        })
    }

    /// How many there are in all, and a page of them: the newest task first, a task's URLs in order.
    fn run<'a>(
        &self,
        account: &'a Account,
        now: Timestamp,
    ) -> (usize, Vec<(&'a Task, &'a Target)>) {
        let listed = |task: &&Task| {
            self.kinds.contains(&task.kind)
                && now >= task.at + account.listed_after
                && now.duration_since(task.at) <= KEPT
                && self.task.as_ref().is_none_or(|id| *id == task.id)
                && self
                    .start
                    .is_none_or(|start| seconds(task.at) >= seconds(start))
                && self.end.is_none_or(|end| seconds(task.at) <= seconds(end))
                && self.area.is_none_or(|area| task.area.covers(area))
        };
        let wanted = |target: &Target| {
            let host = target.url.split('/').nth(2).unwrap_or_default();
            self.keyword
                .as_deref()
                .is_none_or(|keyword| keyword == target.url || keyword == host)
                && self
                    .status
                    .as_deref()
                    .is_none_or(|s| s == word(target, now))
        };
        let mut all: Vec<(&Task, &Target)> = Vec::new();
        for task in account.tasks.iter().rev().filter(listed) {
            all.extend(task.targets.iter().filter(|t| wanted(t)).map(|t| (task, t)));
        }
        let total = all.len();
        let size = self.limit.min(account.page_cap);
        let page = all.into_iter().skip(self.offset).take(size).collect();
        (total, page)
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_second()
}

fn time(parameters: &mut Parameters, name: &str) -> Result<Option<Timestamp>, Refused> {
    match parameters.text(name)? {
        None => Ok(None),
        Some(text) => match parse_beijing_time(&text) {
            Some(at) => Ok(Some(at)),
            None => Err(invalid_date(&format!("{name} is not YYYY-MM-DD HH:MM:SS"))),
        },
    }
}

fn invalid_date(message: &str) -> Refused {
    Refused::new("InvalidParameter.CdnStatInvalidDate", message)
}
