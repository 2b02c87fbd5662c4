//! The calls that submit purges, and those for quotas.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

use super::super::account::{Account, Area};
use super::super::exchange::Request;
use super::{Query, Trouble};
use crate::purge::{Mode, PurgeKind};

/// The maximum length of a URL in characters.
const MAX_URL: usize = 4_096;

/// `POST content/refresh-tasks`.
pub(super) fn refresh(
    account: &mut Account,
    request: &Request,
    now: Timestamp,
) -> Result<Value, Trouble> {
    Query::read(request, &["enterprise_project_id"])?;
    let mut task = envelope(request, "refresh_task")?;
    let kind = match word(&mut task, "type", &["file", "directory"])?.as_deref() {
        Some("directory") => PurgeKind::Directory,
        Some(_) | None => PurgeKind::Url,
    };
    let mode = match word(&mut task, "mode", &["all", "detect_modify_refresh"])?.as_deref() {
        Some("detect_modify_refresh") => Mode::Flush,
        Some(_) | None => Mode::Delete,
    };
    let mode = (kind == PurgeKind::Directory).then_some(mode);
    let id = submit(account, task, kind, mode, now)?;
    Ok(json!({"refresh_task": id}))
}

/// `POST content/preheating-tasks`.
pub(super) fn preheat(
    account: &mut Account,
    request: &Request,
    now: Timestamp,
) -> Result<Value, Trouble> {
    Query::read(request, &["enterprise_project_id"])?;
    let task = envelope(request, "preheating_task")?;
    let id = submit(account, task, PurgeKind::Prefetch, None, now)?;
    Ok(json!({"preheating_task": id}))
}

/// `GET quota`.
pub(super) fn quota(
    account: &mut Account,
    request: &Request,
    now: Timestamp,
) -> Result<Value, Trouble> {
    Query::read(request, &["enterprise_project_id"])?;
    let line = |(kind, word)| {
        let limit = account.allowances.get(&kind).map_or(0, |a| a.per_day);
        json!({
            "type": word,
            "quota_limit": limit,
            "used": account.used_today(kind, Area::Mainland, now),
            "user_domain_id": "0123456789abcdef0123456789abcdef",
        })
    };
    let kinds = [
        (PurgeKind::Url, "file_refresh"),
        (PurgeKind::Directory, "dir_refresh"),
        (PurgeKind::Prefetch, "preheat"),
    ];
    Ok(json!({"quotas": kinds.map(line)}))
}

/// The error for too many URLs, per request or per day: the code does not say which.
pub(super) fn over_limit() -> Trouble {
    Trouble::Business(
        "CDN.0110",
        "The number of URLs exceeds the upper limit.".into(),
    )
}

/// The only object in the body.
fn envelope(request: &Request, name: &str) -> Result<Map<String, Value>, Trouble> {
    if request.content_type() != "application/json" {
        return Err(Trouble::Parameter(
            "Content-Type must be application/json".into(),
        ));
    }
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|error| Trouble::Parameter(format!("the body is not JSON: {error}")))?;
    match body {
        Value::Object(mut fields) if fields.len() == 1 => match fields.remove(name) {
            Some(Value::Object(task)) => Ok(task),
            Some(_) | None => Err(Trouble::Parameter(format!("{name} is missing"))),
        },
        _ => Err(Trouble::Parameter(format!(
            "the body must hold {name} alone"
        ))),
    }
}

fn word(
    task: &mut Map<String, Value>,
    name: &str,
    allowed: &[&str],
) -> Result<Option<String>, Trouble> {
    match task.remove(name) {
        None => Ok(None),
        Some(Value::String(word)) if allowed.contains(&word.as_str()) => Ok(Some(word)),
        Some(_) => Err(Trouble::Parameter(format!(
            "{name} must be one of {}",
            allowed.join(", ")
        ))),
    }
}

fn submit(
    account: &mut Account,
    mut task: Map<String, Value>,
    kind: PurgeKind,
    mode: Option<Mode>,
    now: Timestamp,
) -> Result<String, Trouble> {
    match task.remove("zh_url_encode") {
        None | Some(Value::Bool(_)) => {}
        Some(_) => return Err(Trouble::Parameter("zh_url_encode must be a boolean".into())),
    }
    let urls: Vec<String> = match task.remove("urls").map(serde_json::from_value) {
        Some(Ok(urls)) => urls,
        Some(Err(_)) | None => {
            return Err(Trouble::Parameter(
                "urls must be an array of strings".into(),
            ));
        }
    };
    if let Some(name) = task.keys().next() {
        return Err(Trouble::Parameter(format!("{name} is not a parameter")));
    }
    if urls.is_empty() {
        return Err(Trouble::Parameter("urls must not be empty".into()));
    }
    let allowed = account.allowances.get(&kind).map_or(0, |a| a.per_request);
    if urls.len() > allowed || urls.len() > account.left_today(kind, Area::Mainland, now) {
        return Err(over_limit());
    }
    for url in &urls {
        check(account, kind, url)?;
    }
    account.task_count += 1;
    let id = (7_620_241 + account.task_count).to_string();
    account.begin(id.clone(), kind, mode, Area::Global, urls, now);
    Ok(id)
}

fn check(account: &Account, kind: PurgeKind, text: &str) -> Result<(), Trouble> {
    let wrong = |why: &str| Err(Trouble::Parameter(format!("{text}: {why}")));
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return wrong("must start with http:// or https://");
    }
    if text.chars().count() > MAX_URL {
        return wrong("longer than 4,096 characters");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("blanks must be percent-encoded");
    }
    if text.contains('*') {
        return wrong("wildcards are not supported");
    }
    if kind == PurgeKind::Directory && !text.ends_with('/') {
        return wrong("a directory ends in /");
    }
    let Ok(url) = Url::parse(text) else {
        return wrong("not a URL");
    };
    match account.domains.get(url.host_str().unwrap_or_default()) {
        None => Err(Trouble::Business(
            "CDN.0108",
            format!("The domain name of the URL does not belong to you: {text}"),
        )),
        Some(domain) if !domain.online => Err(Trouble::Business(
            "CDN.0106",
            "The domain name is not in a state for this operation.".into(),
        )),
        Some(_) => Ok(()),
    }
}
