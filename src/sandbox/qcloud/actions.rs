//! The actions: `RefreshCdnUrl`, `RefreshCdnDir`, `CdnPusherV2`, and the two logs.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;

use super::super::account::{
    Account, Area, Target, TargetOutcome, Task, beijing_time, parse_beijing_time,
};
use super::{QCloud, Refused};
use crate::purge::{Mode, PurgeKind};

/// How long the logs are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Parameters of the protocol.
const PROTOCOL: [&str; 9] = [
    "Action",
    "SecretId",
    "Timestamp",
    "Nonce",
    "Signature",
    "SignatureMethod",
    "Region",
    "Token",
    "RequestClient",
];

pub(super) fn run(
    api: &mut QCloud,
    action: &str,
    pairs: &[(String, String)],
    now: Timestamp,
) -> Result<Value, Refused> {
    let own = pairs
        .iter()
        .filter(|(name, _)| !PROTOCOL.contains(&name.as_str()));
    let parameters = Parameters(own.cloned().collect());
    match action {
        "RefreshCdnUrl" => {
            parameters.only(&["urls."])?;
            let urls = parameters.list("urls")?;
            let count = urls.len();
            let id = submit(&mut api.account, PurgeKind::Url, urls, now)?;
            Ok(json!({"data": {"count": count, "task_id": api.either(&id)}}))
        }
        "RefreshCdnDir" => {
            parameters.only(&["dirs."])?;
            let urls = parameters.list("dirs")?;
            submit(&mut api.account, PurgeKind::Directory, urls, now)?;
            // No data: the task can only be found by time and URL.
            Ok(json!({}))
        }
        "CdnPusherV2" => {
            parameters.only(&["urls."])?;
            let urls = parameters.list("urls")?;
            let count = urls.len();
            let id = submit(&mut api.account, PurgeKind::Prefetch, urls, now)?;
            Ok(json!({"data": {"count": count, "task_id": api.either(&id)}}))
        }
        "GetCdnRefreshLog" => refresh_log(api, &parameters, now),
        "GetPushLogs" => push_log(api, &parameters, now),
        other => Err(Refused::new(
            4_000,
            format!("The action {other} does not exist"),
        )),
    }
}

struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Rejects other parameters than these; a name that ends in a dot stands for a list.
    fn only(&self, known: &[&str]) -> Result<(), Refused> {
        let fits = |name: &str| {
            known
                .iter()
                .any(|k| name == *k || (k.ends_with('.') && name.starts_with(k)))
        };
        match self.0.iter().find(|(name, _)| !fits(name)) {
            Some((name, _)) => Err(Refused::new(4_000, format!("{name} is not a parameter"))),
            None => Ok(()),
        }
    }

    /// `name.0`, `name.1`, ... without a gap.
    fn list(&self, name: &str) -> Result<Vec<String>, Refused> {
        let found: BTreeMap<usize, &String> = self
            .0
            .iter()
            .filter_map(|(n, value)| {
                let number = n.strip_prefix(name)?.strip_prefix('.')?;
                Some((number.parse().ok()?, value))
            })
            .collect();
        let whole = found.keys().enumerate().all(|(at, number)| at == *number);
        if found.is_empty() || !whole || found.len() != self.0.len() {
            return Err(Refused::module(9_003, &format!("{name} param error")));
        }
        Ok(found.into_values().cloned().collect())
    }

    fn date(&self, name: &str) -> Result<Option<Timestamp>, Refused> {
        match self.get(name).map(parse_beijing_time) {
            None => Ok(None),
            Some(Some(at)) => Ok(Some(at)),
            Some(None) => Err(Refused::module(9_003, "The date is invalid")),
        }
    }
}

fn submit(
    account: &mut Account,
    kind: PurgeKind,
    urls: Vec<String>,
    now: Timestamp,
) -> Result<String, Refused> {
    let allowed = account.allowances.get(&kind).map_or(0, |a| a.per_request);
    if urls.len() > allowed {
        return Err(Refused::module(9_003, "too many urls"));
    }
    for text in &urls {
        let scheme = text.starts_with("http://") || text.starts_with("https://");
        let blank = text.chars().any(|c| c.is_control() || c.is_whitespace());
        let open = kind == PurgeKind::Directory && !text.ends_with('/');
        let Some(url) = Url::parse(text).ok().filter(|_| scheme && !blank && !open) else {
            return Err(Refused::module(9_107, "cdn host format error"));
        };
        let domain = account.domains.get(url.host_str().unwrap_or_default());
        if domain.is_none_or(|domain| !domain.online) {
            return Err(Refused::module(9_110, "cdn no such host"));
        }
    }
    if urls.len() > account.left_today(kind, Area::Mainland, now) {
        return Err(super::over_rate());
    }
    account.task_count += 1;
    // Numbers beyond 2^53, which must not be converted to a float.
    let id = format!("{}{:09}", now.as_second(), 795_584_531 + account.task_count);
    let mode = (kind == PurgeKind::Directory).then_some(Mode::Delete);
    account.begin(id.clone(), kind, mode, Area::Mainland, urls, now);
    Ok(id)
}

fn refresh_log(api: &QCloud, parameters: &Parameters, now: Timestamp) -> Result<Value, Refused> {
    parameters.only(&["startDate", "endDate", "taskId", "url"])?;
    let span = span(parameters)?;
    let task = parameters.get("taskId");
    if task.is_some_and(|id| id.parse::<u64>().is_err()) {
        return Err(Refused::module(9_003, "taskId must be an integer"));
    }
    if task.is_none() && span.is_none() {
        return Err(Refused::module(
            9_003,
            "startDate and endDate, or taskId, must be given",
        ));
    }
    let account = &api.account;
    let listed = |t: &&Task| t.kind != PurgeKind::Prefetch && visible(account, t, now);
    if let (Some(id), Some((start, end))) = (task, span) {
        let found = account.tasks.iter().filter(listed).find(|t| t.id == id);
        if found.is_none_or(|t| t.at < start || t.at > end) {
            return Err(Refused::module(9_003, "The date is invalid"));
        }
    }
    let url = parameters.get("url");
    let wanted = |t: &&Task| {
        task.is_none_or(|id| id == t.id)
            && span.is_none_or(|(start, end)| t.at >= start && t.at <= end)
            && url.is_none_or(|url| t.targets.iter().any(|target| target.url == url))
    };
    let found = account.tasks.iter().rev().filter(listed).filter(wanted);
    // One line for each host of a submission.
    let mut logs: Vec<Value> = Vec::new();
    for task in found {
        let mut hosts: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
        for target in &task.targets {
            let host = target.url.split('/').nth(2).unwrap_or_default();
            hosts.entry(host).or_default().push(target);
        }
        for (host, targets) in hosts {
            let urls: Vec<&String> = targets.iter().map(|target| &target.url).collect();
            logs.push(json!({
                "id": targets.first().map(|target| target.id),
                "app_id": 123_456,
                "project_id": 0,
                "host": host,
                "type": if task.kind == PurgeKind::Url { 0 } else { 1 },
                "status": number(&targets, now),
                "url_list": urls,
                "datetime": beijing_time(task.at),
            }));
        }
    }
    Ok(json!({
        "retcode": 0,
        "errmsg": "ok",
        "data": {"total": logs.len(), "logs": logs},
    }))
}

/// 1 if all are done, negative if one has failed, 0 while one runs.
fn number(targets: &[&Target], now: Timestamp) -> i64 {
    let ended: Vec<Option<TargetOutcome>> =
        targets.iter().map(|target| target.ended(now)).collect();
    if ended.contains(&None) {
        0
    } else if ended
        .iter()
        .all(|outcome| *outcome == Some(TargetOutcome::Done))
    {
        1
    } else {
        -1
    }
}

fn push_log(api: &QCloud, parameters: &Parameters, now: Timestamp) -> Result<Value, Refused> {
    parameters.only(&[
        "startDate",
        "endDate",
        "taskId",
        "hosts.",
        "status.",
        "keyword",
        "offset",
        "limit",
    ])?;
    // A task of CdnPusherV2 is found only by its id and the dates.
    let Some((start, end)) = span(parameters)? else {
        return Err(Refused::module(
            9_003,
            "startDate and endDate must be given",
        ));
    };
    let size = |name: &str, or: usize| match parameters.get(name).map(str::parse) {
        None => Ok(or),
        Some(Ok(number)) => Ok(number),
        Some(Err(_)) => Err(Refused::module(9_003, "offset and limit are numbers")),
    };
    let (offset, limit) = (size("offset", 0)?, size("limit", 20)?);
    let several = |name: &str| -> Vec<&str> {
        let found = parameters.0.iter().filter(|(n, _)| n.starts_with(name));
        found.map(|(_, value)| value.as_str()).collect()
    };
    let (hosts, statuses) = (several("hosts."), several("status."));
    let account = &api.account;
    let wanted = |t: &&Task| {
        t.kind == PurgeKind::Prefetch
            && visible(account, t, now)
            && (t.at >= start && t.at <= end)
            && parameters.get("taskId").is_none_or(|id| id == t.id)
    };
    let mut logs: Vec<Value> = Vec::new();
    for task in account.tasks.iter().rev().filter(wanted) {
        for target in &task.targets {
            let host = target.url.split('/').nth(2).unwrap_or_default();
            let status = match target.ended(now) {
                Some(TargetOutcome::Done) => "done",
                Some(TargetOutcome::Fail | TargetOutcome::Invalid) => "fail",
                Some(TargetOutcome::Never) | None => "process",
            };
            let passes = (hosts.is_empty() || hosts.contains(&host))
                && (statuses.is_empty() || statuses.contains(&status))
                && parameters
                    .get("keyword")
                    .is_none_or(|k| target.url.contains(k));
            if passes {
                logs.push(json!({
                    "log_id": target.id,
                    "task_id": api.either(&task.id),
                    "host": host,
                    "url": target.url,
                    "datetime": beijing_time(task.at),
                    "status": account.words.write(status),
                    "percent": if target.ended(now).is_some() { 100 } else { 50 },
                }));
            }
        }
    }
    let total = logs.len();
    let page: Vec<Value> = logs.into_iter().skip(offset).take(limit).collect();
    Ok(json!({"data": {"total": total, "logs": page}}))
}

/// The dates: both or neither.
fn span(parameters: &Parameters) -> Result<Option<(Timestamp, Timestamp)>, Refused> {
    match (parameters.date("startDate")?, parameters.date("endDate")?) {
        (Some(start), Some(end)) if start <= end => {
            // Both count to the second.
            Ok(Some((start, end + SignedDuration::from_millis(999))))
        }
        (None, None) => Ok(None),
        _ => Err(Refused::module(9_003, "The date is invalid")),
    }
}

fn visible(account: &Account, task: &Task, now: Timestamp) -> bool {
    now >= task.at + account.listed_after && now.duration_since(task.at) <= KEPT
}
