//! Tencent Cloud CDN, API 2018-06-06.
//!
//! Purges and prefetches are handed over in batches that get one task id each;
//! a batch is refused or accepted as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::client::{Client, Product};
use super::{Credentials, log};
use crate::cdn::matching::AnyId;
use crate::cdn::{
    Batch, Cdn, CdnError, CdnKind, InFlight, Limit, Limits, Pace, Paced, Quota, Report, limits,
};
use crate::http::Outside;
use crate::purge::{Mode, PurgeKind};
use crate::settings::Section;

/// `kind: tencent-cdn`.
pub const KIND: CdnKind = CdnKind {
    name: "tencent-cdn",
    read,
};

const PRODUCT: Product = Product {
    name: "Tencent CDN",
    service: "cdn",
    version: "2018-06-06",
};

/// The mainland site's host. The international site's is `cdn.intl.tencentcloudapi.com`.
const ENDPOINT: &str = "https://cdn.tencentcloudapi.com";

/// Tencent Cloud CDN as an entry under `cdns:` configures it.
pub struct TencentCdn {
    client: Client,
    options: Options,
    limits: Limits,
}

/// What an entry may say beyond its credentials.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `area`: `mainland` or `overseas`. Not said, a purge is for the domain's own areas.
    pub area: Option<String>,
    /// `prefetch_area`: also `global`. Not said, it is `area`, and without that Tencent takes `mainland`.
    pub prefetch_area: Option<String>,
    /// `url_encode`: have Tencent encode Chinese characters. Targets are percent-encoded already, so it is rarely needed.
    pub url_encode: Option<bool>,
    /// `user_agent`: what a prefetch calls itself at the origin. Tencent's default is `TencentCdn`.
    pub user_agent: Option<String>,
}

/// The defaults an account starts with: 10,000 URLs, 100 directories and 1,000 prefetches a day, for
/// mainland and overseas each; 1,000 URLs, 500 directories or 500 prefetches a request; 20 requests a
/// second and action (API 2018-06-06).
fn documented_limits() -> Limits {
    let limit = |per_request, per_day| Limit {
        per_request,
        per_day,
        requests_per_second: 20,
    };
    Limits {
        kinds: BTreeMap::from([
            (PurgeKind::Url, limit(1_000, 10_000)),
            (PurgeKind::Directory, limit(500, 100)),
            (PurgeKind::Prefetch, limit(500, 1_000)),
        ]),
        queries_per_second: 20,
        // There is a limit (InvalidParameter.CdnUrlExceedLength), but no document says which.
        url_length: None,
    }
}

fn read(section: &mut Section, outside: &Outside) -> Option<Arc<dyn Cdn>> {
    let credentials = Credentials::read(section);
    let endpoint = match section.url("endpoint") {
        Some(endpoint) => Some(endpoint.value),
        None => Url::parse(ENDPOINT).ok(),
    };
    let options = Options {
        area: section
            .word("area", &["mainland", "overseas"])
            .map(|word| word.value),
        prefetch_area: section
            .word("prefetch_area", &["mainland", "overseas", "global"])
            .map(|word| word.value),
        url_encode: section.flag("url_encode").map(|flag| flag.value),
        user_agent: section.text("user_agent").map(|text| text.value),
    };
    let limits = limits::read(section, documented_limits());
    let client = Client::new(PRODUCT, endpoint?, credentials?, outside.clone());
    Some(Arc::new(TencentCdn {
        client,
        options,
        limits,
    }))
}

impl TencentCdn {
    #[cfg(test)]
    pub(super) fn for_test(
        endpoint: Url,
        credentials: Credentials,
        options: Options,
        outside: Outside,
    ) -> Self {
        Self {
            client: Client::new(PRODUCT, endpoint, credentials, outside),
            options,
            limits: documented_limits(),
        }
    }

    /// The action for a batch, what it is of, and its parameters. What is not said is left out.
    fn submission(&self, batch: &Batch) -> (&'static str, String, Value) {
        let count = batch.targets.len();
        let plural = if count == 1 { "" } else { "s" };
        let encode = ("UrlEncode", self.options.url_encode.map(Value::from));
        let area = ("Area", self.options.area.clone().map(Value::from));
        match batch.kind {
            PurgeKind::Url => (
                "PurgeUrlsCache",
                format!("{count} URL{plural}"),
                parameters([("Urls", Some(json!(batch.targets))), area, encode]),
            ),
            PurgeKind::Directory => {
                // Required, and without a default: the milder way where no rule says otherwise.
                let flush = batch.mode.unwrap_or(Mode::Flush).word();
                let of = if count == 1 {
                    "directory"
                } else {
                    "directories"
                };
                (
                    "PurgePathCache",
                    format!("{count} {of}"),
                    parameters([
                        ("Paths", Some(json!(batch.targets))),
                        ("FlushType", Some(json!(flush))),
                        area,
                        encode,
                    ]),
                )
            }
            PurgeKind::Prefetch => {
                let area = self.options.prefetch_area.clone().map(Value::from);
                (
                    "PushUrlsCache",
                    format!("{count} URL{plural}"),
                    parameters([
                        ("Urls", Some(json!(batch.targets))),
                        ("Area", area.or(self.options.area.clone().map(Value::from))),
                        (
                            "UserAgent",
                            self.options.user_agent.clone().map(Value::from),
                        ),
                        encode,
                    ]),
                )
            }
        }
    }

    /// The area whose quota counts for a kind of purge.
    fn quota_area(&self, kind: PurgeKind) -> Option<&str> {
        let area = self.options.area.as_deref();
        match kind {
            PurgeKind::Url | PurgeKind::Directory => area,
            PurgeKind::Prefetch => self
                .options
                .prefetch_area
                .as_deref()
                .or(area)
                .or(Some("mainland")),
        }
    }
}

fn parameters<const N: usize>(given: [(&str, Option<Value>); N]) -> Value {
    given
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Accepted {
    task_id: AnyId,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PurgeQuotas {
    #[serde(default)]
    url_purge: Option<Vec<AreaQuota>>,
    #[serde(default)]
    path_purge: Option<Vec<AreaQuota>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PushQuotas {
    #[serde(default)]
    url_push: Option<Vec<AreaQuota>>,
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

/// The quota of one area, or of the area that has least left: a purge for all areas uses each one's.
fn pick(areas: Option<Vec<AreaQuota>>, wanted: Option<&str>) -> Option<Quota> {
    let areas = areas.unwrap_or_default();
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

#[async_trait]
impl Cdn for TencentCdn {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn account(&self) -> String {
        format!("{} {}", KIND.name, self.client.account())
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn submit(&self, batch: &Batch) -> Result<Option<String>, CdnError> {
        let (action, of, parameters) = self.submission(batch);
        let accepted = self
            .client
            .call::<Accepted>(action, &of, &parameters)
            .await?;
        Ok(Some(accepted.response.task_id.0))
    }

    async fn follow(&self, tasks: &[InFlight], pace: &Pace) -> Result<Vec<Report>, CdnError> {
        log::follow(&self.client, tasks, &mut Paced::new(pace)).await
    }

    async fn find(&self, lost: &InFlight, pace: &Pace) -> Result<Option<String>, CdnError> {
        log::find(&self.client, lost, &mut Paced::new(pace)).await
    }

    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError> {
        let none = json!({});
        let purge: PurgeQuotas = self
            .client
            .call("DescribePurgeQuota", "", &none)
            .await?
            .response;
        let push: PushQuotas = self
            .client
            .call("DescribePushQuota", "", &none)
            .await?
            .response;
        let by_kind = [
            (PurgeKind::Url, purge.url_purge),
            (PurgeKind::Directory, purge.path_purge),
            (PurgeKind::Prefetch, push.url_push),
        ];
        Ok(by_kind
            .into_iter()
            .filter_map(|(kind, areas)| Some((kind, pick(areas, self.quota_area(kind))?)))
            .collect())
    }
}
