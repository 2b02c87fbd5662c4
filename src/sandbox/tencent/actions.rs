//! The actions: three that submit, two that list, two that tell quotas.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use url::Url;

use super::super::account::{Account, Area, Fate, Target, Task, beijing_time, parse_beijing_time};
use super::parameters::{Parameters, missing};
use super::signature::Refused;
use crate::purge::{Mode, PurgeKind};

type Fields = Map<String, Value>;
type Run = fn(&mut Account, &mut Parameters, Timestamp) -> Result<Fields, Refused>;

/// Bytes of a URL. There is an error for longer ones; the length itself is in no document.
const MAX_URL: usize = 8_192;
/// How long records can be asked for (documented for the console and for API 2.0).
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The action of a name.
pub(super) fn find(action: &str) -> Option<Run> {
    match action {
        "PurgeUrlsCache" => Some(purge_urls),
        "PurgePathCache" => Some(purge_paths),
        "PushUrlsCache" => Some(push_urls),
        "DescribePurgeTasks" => Some(describe_purges),
        "DescribePushTasks" => Some(describe_pushes),
        "DescribePurgeQuota" => Some(purge_quota),
        "DescribePushQuota" => Some(push_quota),
        _ => None,
    }
}

/// What an action counts against.
pub(super) fn kind_of(action: &str) -> PurgeKind {
    match action {
        "PurgePathCache" => PurgeKind::Directory,
        "PushUrlsCache" => PurgeKind::Prefetch,
        _ => PurgeKind::Url,
    }
}

/// The refusal of a submission over the day's quota.
pub(super) fn day_limit(kind: PurgeKind) -> Refused {
    over(kind, "Day")
}

fn over(kind: PurgeKind, what: &str) -> Refused {
    let name = match kind {
        PurgeKind::Url => "CdnPurgeUrl",
        PurgeKind::Directory => "CdnPurgePath",
        PurgeKind::Prefetch => "CdnPush",
    };
    Refused::new(
        &format!("LimitExceeded.{name}Exceed{what}Limit"),
        "The number of targets is over the limit.",
    )
}

fn bad(message: impl Into<String>) -> Refused {
    Refused::new("InvalidParameter.CdnParamError", message)
}

fn purge_urls(
    account: &mut Account,
    parameters: &mut Parameters,
    now: Timestamp,
) -> Result<Fields, Refused> {
    let urls = parameters.texts("Urls")?.ok_or_else(|| missing("Urls"))?;
    let area = parameters.word("Area", &["mainland", "overseas"])?;
    let encoded = parameters.flag("UrlEncode")?.unwrap_or(false);
    let area = area.as_deref().and_then(Area::parse);
    submit(
        account,
        parameters,
        PurgeKind::Url,
        None,
        urls,
        area,
        encoded,
        now,
    )
}

fn purge_paths(
    account: &mut Account,
    parameters: &mut Parameters,
    now: Timestamp,
) -> Result<Fields, Refused> {
    let paths = parameters.texts("Paths")?.ok_or_else(|| missing("Paths"))?;
    let mode = match parameters
        .word("FlushType", &["flush", "delete"])?
        .as_deref()
    {
        None => return Err(missing("FlushType")),
        Some("flush") => Mode::Flush,
        Some(_) => Mode::Delete,
    };
    let area = parameters.word("Area", &["mainland", "overseas"])?;
    let encoded = parameters.flag("UrlEncode")?.unwrap_or(false);
    let area = area.as_deref().and_then(Area::parse);
    submit(
        account,
        parameters,
        PurgeKind::Directory,
        Some(mode),
        paths,
        area,
        encoded,
        now,
    )
}

fn push_urls(
    account: &mut Account,
    parameters: &mut Parameters,
    now: Timestamp,
) -> Result<Fields, Refused> {
    let urls = parameters.texts("Urls")?.ok_or_else(|| missing("Urls"))?;
    // Unlike a purge, a prefetch without an area goes to the mainland.
    let area = parameters
        .word("Area", &["mainland", "overseas", "global"])?
        .as_deref()
        .and_then(Area::parse)
        .unwrap_or(Area::Mainland);
    parameters.text("UserAgent")?;
    parameters.word("Layer", &["middle", ""])?;
    parameters.flag("ParseM3U8")?;
    parameters.flag("DisableRange")?;
    let headers = parameters.names_and_values("Headers")?;
    let fits = |(name, value): &(String, String)| name.len() <= 128 && value.len() <= 1_024;
    if headers.len() > 20 || !headers.iter().all(fits) {
        return Err(bad(
            "Headers: at most 20, names of 128 bytes, values of 1,024",
        ));
    }
    let encoded = parameters.flag("UrlEncode")?.unwrap_or(false);
    submit(
        account,
        parameters,
        PurgeKind::Prefetch,
        None,
        urls,
        Some(area),
        encoded,
        now,
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "one caller an action, each names them"
)]
fn submit(
    account: &mut Account,
    parameters: &Parameters,
    kind: PurgeKind,
    mode: Option<Mode>,
    urls: Vec<String>,
    area: Option<Area>,
    encoded: bool,
    now: Timestamp,
) -> Result<Fields, Refused> {
    parameters.unknown()?;
    if urls.is_empty() {
        return Err(bad("there must be at least one URL"));
    }
    let allowed = account.allowances.get(&kind).map_or(0, |a| a.per_request);
    if urls.len() > allowed {
        return Err(over(kind, "Batch"));
    }
    let mut widest = None;
    for url in &urls {
        let found = check(account, kind, url, area, encoded)?;
        widest = match widest {
            None => Some(found),
            Some(before) if before == found => Some(found),
            Some(_) => Some(Area::Global),
        };
    }
    let area = area.or(widest).unwrap_or(Area::Mainland);
    if urls.len() > account.left_today(kind, area, now) {
        return Err(day_limit(kind));
    }
    let id = task_id(account, now);
    account.begin(id.clone(), kind, mode, area, urls, now);
    Ok(Fields::from_iter([("TaskId".to_owned(), json!(id))]))
}

/// Checks one URL and finds the area of its domain.
fn check(
    account: &Account,
    kind: PurgeKind,
    text: &str,
    area: Option<Area>,
    encoded: bool,
) -> Result<Area, Refused> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err(bad(format!("{text}: must start with http:// or https://")));
    }
    if text.len() > MAX_URL {
        return Err(Refused::new(
            "InvalidParameter.CdnUrlExceedLength",
            "The URL is too long.",
        ));
    }
    if text
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || (!encoded && !c.is_ascii()))
    {
        return Err(bad(format!("{text}: must be percent-encoded")));
    }
    let host = text.split('/').nth(2).unwrap_or_default();
    if host.contains('*') {
        let code = match kind {
            PurgeKind::Url | PurgeKind::Directory => "InvalidParameter.CdnPurgeWildcardNotAllowed",
            PurgeKind::Prefetch => "InvalidParameter.CdnPushWildcardNotAllowed",
        };
        return Err(Refused::new(
            code,
            "Wildcard domain names are not supported.",
        ));
    }
    let url = Url::parse(text).map_err(|error| bad(format!("{text}: {error}")))?;
    if kind == PurgeKind::Directory && !text.ends_with('/') {
        return Err(bad(format!("{text}: a directory ends in /")));
    }
    let host = url.host_str().unwrap_or_default();
    let Some(domain) = account.domains.get(host) else {
        return Err(Refused::new(
            "ResourceNotFound.CdnHostNotExists",
            format!("Unable to find the domain name {host}."),
        ));
    };
    if !domain.online {
        return Err(Refused::new(
            "ResourceUnavailable.CdnHostIsNotOnline",
            format!("The domain name {host} has been deactivated."),
        ));
    }
    match area {
        Some(area) if !domain.area.covers(area) => {
            Err(bad(format!("{host} is not accelerated in {}", area.word())))
        }
        Some(_) | None => Ok(domain.area),
    }
}

/// Ids come in both of the documented forms, in turn: with a dash, and as digits beyond 2^53.
fn task_id(account: &mut Account, now: Timestamp) -> String {
    account.task_count += 1;
    let count = account.task_count;
    if count % 2 == 0 {
        format!("{}-i60rf{count:03}", now.as_second())
    } else {
        format!("{}{:09}", now.as_second(), 231_313_000 + count)
    }
}

fn describe_purges(
    account: &mut Account,
    parameters: &mut Parameters,
    now: Timestamp,
) -> Result<Fields, Refused> {
    let kinds = match parameters.word("PurgeType", &["url", "path"])?.as_deref() {
        Some("url") => vec![PurgeKind::Url],
        Some(_) => vec![PurgeKind::Directory],
        None => vec![PurgeKind::Url, PurgeKind::Directory],
    };
    let status = parameters.word("Status", &["fail", "done", "process"])?;
    let query = Query::read(parameters, kinds, status)?;
    let (total, page) = query.run(account, now);
    let logs: Vec<Value> = page
        .iter()
        .map(|(task, target)| {
            json!({
                "TaskId": task.id,
                "Url": target.url,
                "Status": account.words.write(example_word(target, now)),
                "PurgeType": if task.kind == PurgeKind::Url { "url" } else { "path" },
                "FlushType": task.mode.map_or("flush", Mode::word),
                "CreateTime": beijing_time(task.at),
            })
        })
        .collect();
    Ok(Fields::from_iter([
        ("PurgeLogs".to_owned(), json!(logs)),
        ("TotalCount".to_owned(), json!(total)),
    ]))
}

fn describe_pushes(
    account: &mut Account,
    parameters: &mut Parameters,
    now: Timestamp,
) -> Result<Fields, Refused> {
    let status = parameters.word("Status", &["fail", "done", "process", "invalid"])?;
    let query = Query::read(parameters, vec![PurgeKind::Prefetch], status)?;
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
                "Area": task.area.word(),
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
        None | Some(Fate::Never) => "process",
        Some(Fate::Done) => "done",
        Some(Fate::Fail) => "fail",
        Some(Fate::Invalid) => "invalid",
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
        let area = parameters
            .word("Area", &["mainland", "overseas", "global"])?
            .as_deref()
            .and_then(Area::parse);
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

fn purge_quota(
    account: &mut Account,
    parameters: &mut Parameters,
    now: Timestamp,
) -> Result<Fields, Refused> {
    parameters.unknown()?;
    Ok(Fields::from_iter([
        ("UrlPurge".to_owned(), quota(account, PurgeKind::Url, now)),
        (
            "PathPurge".to_owned(),
            quota(account, PurgeKind::Directory, now),
        ),
    ]))
}

fn push_quota(
    account: &mut Account,
    parameters: &mut Parameters,
    now: Timestamp,
) -> Result<Fields, Refused> {
    parameters.unknown()?;
    let quota = quota(account, PurgeKind::Prefetch, now);
    Ok(Fields::from_iter([("UrlPush".to_owned(), quota)]))
}

fn quota(account: &Account, kind: PurgeKind, now: Timestamp) -> Value {
    let allowance = account.allowances.get(&kind);
    let line = |area: &Area| {
        json!({
            "Area": area.word(),
            "Batch": allowance.map_or(0, |a| a.per_request),
            "Total": allowance.map_or(0, |a| a.per_day),
            "Available": account.left_today(kind, *area, now),
        })
    };
    Area::Global.parts().iter().map(line).collect()
}
