//! The actions: three that submit, two that list tasks, two that report quotas.

use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::super::account::{Account, Area};
use super::Product;
use super::desk::{Desk, Fields, bad};
use super::parameters::{Parameters, missing};
use super::records::{describe_purges, describe_pushes};
use super::signature::Refused;
use crate::purge::{Mode, PurgeKind};

type Run = fn(&mut Desk<'_>, &mut Parameters) -> Result<Fields, Refused>;

/// Bytes of a URL. There is an error for longer ones; the length itself is in no document.
const MAX_URL: usize = 8_192;

/// The action of a name. ECDN has no prefetch.
pub(super) fn find(product: Product, action: &str) -> Option<Run> {
    match (product, action) {
        (_, "PurgeUrlsCache") => Some(purge_urls),
        (_, "PurgePathCache") => Some(purge_paths),
        (_, "DescribePurgeTasks") => Some(describe_purges),
        (_, "DescribePurgeQuota") => Some(purge_quota),
        (Product::Cdn, "PushUrlsCache") => Some(push_urls),
        (Product::Cdn, "DescribePushTasks") => Some(describe_pushes),
        (Product::Cdn, "DescribePushQuota") => Some(push_quota),
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

fn purge_urls(desk: &mut Desk<'_>, parameters: &mut Parameters) -> Result<Fields, Refused> {
    let urls = parameters.texts("Urls")?.ok_or_else(|| missing("Urls"))?;
    let (area, encoded) = desk.place(parameters)?;
    parameters.unknown()?;
    submit(
        desk,
        Submission {
            kind: PurgeKind::Url,
            mode: None,
            urls,
            area,
            encoded,
        },
    )
}

fn purge_paths(desk: &mut Desk<'_>, parameters: &mut Parameters) -> Result<Fields, Refused> {
    let paths = parameters.texts("Paths")?.ok_or_else(|| missing("Paths"))?;
    let mode = match parameters
        .word("FlushType", &["flush", "delete"])?
        .as_deref()
    {
        None => return Err(missing("FlushType")),
        Some("flush") => Mode::Flush,
        Some(_) => Mode::Delete,
    };
    let (area, encoded) = desk.place(parameters)?;
    parameters.unknown()?;
    submit(
        desk,
        Submission {
            kind: PurgeKind::Directory,
            mode: Some(mode),
            urls: paths,
            area,
            encoded,
        },
    )
}

fn push_urls(desk: &mut Desk<'_>, parameters: &mut Parameters) -> Result<Fields, Refused> {
    let urls = parameters.texts("Urls")?.ok_or_else(|| missing("Urls"))?;
    // Unlike a purge, a prefetch without an area goes to the mainland.
    let area = parameters
        .word("Area", &["mainland", "overseas", "global"])?
        .as_deref()
        .and_then(|area| area.parse().ok())
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
    parameters.unknown()?;
    submit(
        desk,
        Submission {
            kind: PurgeKind::Prefetch,
            mode: None,
            urls,
            area: Some(area),
            encoded,
        },
    )
}

struct Submission {
    kind: PurgeKind,
    mode: Option<Mode>,
    urls: Vec<String>,
    area: Option<Area>,
    encoded: bool,
}

/// Takes a batch, or refuses all of it: there is one task id and no list of failures.
fn submit(desk: &mut Desk<'_>, submission: Submission) -> Result<Fields, Refused> {
    let Submission {
        kind,
        mode,
        urls,
        area,
        encoded,
    } = submission;
    let (account, now) = (&mut *desk.account, desk.now);
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
        Some(area) if !domain.area.covers(area) => Err(bad(format!(
            "{host} is not accelerated in {}",
            area.as_str()
        ))),
        Some(_) | None => Ok(domain.area),
    }
}

/// Ids come in both of the documented forms, in turn: with a dash, and as digits beyond 2^53.
fn task_id(account: &mut Account, now: Timestamp) -> String {
    account.task_count += 1;
    let count = account.task_count;
    if count.is_multiple_of(2) {
        format!("{}-i60rf{count:03}", now.as_second())
    } else {
        format!("{}{:09}", now.as_second(), 231_313_000 + count)
    }
}

fn purge_quota(desk: &mut Desk<'_>, parameters: &mut Parameters) -> Result<Fields, Refused> {
    parameters.unknown()?;
    Ok(Fields::from_iter([
        ("UrlPurge".to_owned(), quota(desk, PurgeKind::Url)),
        ("PathPurge".to_owned(), quota(desk, PurgeKind::Directory)),
    ]))
}

fn push_quota(desk: &mut Desk<'_>, parameters: &mut Parameters) -> Result<Fields, Refused> {
    parameters.unknown()?;
    let quota = quota(desk, PurgeKind::Prefetch);
    Ok(Fields::from_iter([("UrlPush".to_owned(), quota)]))
}

/// A quota: the CDN answers one for each area, ECDN one object.
fn quota(desk: &Desk<'_>, kind: PurgeKind) -> Value {
    let allowance = desk.account.allowances.get(&kind);
    let (batch, total) = allowance.map_or((0, 0), |a| (a.per_request, a.per_day));
    let left = |area: Area| desk.account.left_today(kind, area, desk.now);
    match desk.product {
        Product::Ecdn => json!({"Batch": batch, "Total": total, "Available": left(Area::Global)}),
        Product::Cdn => {
            let areas = Area::Global.parts().iter();
            let line = |area: &Area| {
                json!({
                    "Area": area.as_str(),
                    "Batch": batch,
                    "Total": total,
                    "Available": left(*area),
                })
            };
            areas.map(line).collect()
        }
    }
}
