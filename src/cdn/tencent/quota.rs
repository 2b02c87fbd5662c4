//! What is left of the day's quotas: per area for CDN, in total for ECDN.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use crate::cdn::{CdnError, Quota};
use crate::purge::PurgeKind;

/// The answer of `DescribePurgeQuota` or `DescribePushQuota`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Quotas {
    #[serde(default)]
    url_purge: Option<ByArea>,
    #[serde(default)]
    path_purge: Option<ByArea>,
    #[serde(default)]
    url_push: Option<ByArea>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ByArea {
    /// CDN.
    Areas(Vec<AreaQuota>),
    /// ECDN, which has no areas.
    Whole(AreaQuota),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AreaQuota {
    #[serde(default)]
    area: Option<String>,
    #[serde(default)]
    batch: Option<u64>,
    total: u64,
    available: u64,
}

/// Calls the actions that report quotas; `area` selects the area whose quota applies to a kind of purge.
pub async fn ask<'a>(
    client: &Client,
    actions: &[&str],
    area: impl Fn(PurgeKind) -> Option<&'a str>,
) -> Result<BTreeMap<PurgeKind, Quota>, CdnError> {
    let mut quotas = BTreeMap::new();
    for action in actions {
        let told: Quotas = client.call(action, "", &json!({})).await?.response;
        for (kind, by_area) in [
            (PurgeKind::Url, told.url_purge),
            (PurgeKind::Directory, told.path_purge),
            (PurgeKind::Prefetch, told.url_push),
        ] {
            if let Some(quota) = by_area.and_then(|by_area| pick(by_area, area(kind))) {
                quotas.insert(kind, quota);
            }
        }
    }
    Ok(quotas)
}

/// The quota of one area, or of the area with the least left: a purge for all areas uses the quota of each.
fn pick(by_area: ByArea, wanted: Option<&str>) -> Option<Quota> {
    let areas = match by_area {
        ByArea::Areas(areas) => areas,
        ByArea::Whole(quota) => vec![quota],
    };
    let named = |quota: &&AreaQuota| wanted.is_some() && quota.area.as_deref() == wanted;
    let quota = areas
        .iter()
        .find(named)
        .or_else(|| areas.iter().min_by_key(|quota| quota.available))?;
    Some(Quota {
        per_request: quota.batch,
        total: quota.total,
        left: quota.available,
    })
}
