//! Tencent Cloud CDN, API 2018-06-06.
//!
//! Purges and prefetches are submitted in batches, each of which gets one task id. A batch is accepted or refused
//! as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
#[cfg(test)]
use url::Url;

use super::client::{Client, Product, Signature};
use super::{NAMES, flush_type, log, quota};
use crate::account::AccountId;
use crate::cdn::credentials::{Credentials, endpoint};
use crate::cdn::{
    Batch, Cdn, CdnError, CdnKind, InFlight, Limit, Limits, Pace, Paced, Quota, Report, limits,
};
use crate::clock::ClockSkew;
use crate::http::Outbound;
use crate::purge::{PurgeKind, TaskId, TaskIds};
use crate::settings::{Entry, Section, Variable};

/// `kind: tencent-cdn`.
pub const KIND: CdnKind = CdnKind {
    name: "tencent-cdn",
    read,
    prefetches: true,
    entry: Entry {
        keys: r#"secret_id: ${TENCENTCLOUD_SECRET_ID}
secret_key: ${TENCENTCLOUD_SECRET_KEY}
# endpoint: https://cdn.intl.tencentcloudapi.com   # the international site
"#,
        variables: &[
            Variable {
                name: "TENCENTCLOUD_SECRET_ID",
                what: "an API key of Tencent Cloud that may purge: console, Cloud Access Management, API keys (docs/start/tencent.md)",
            },
            Variable {
                name: "TENCENTCLOUD_SECRET_KEY",
                what: "its other half, which is shown once",
            },
        ],
    },
};

const PRODUCT: Product = Product {
    name: "Tencent CDN",
    service: "cdn",
    version: "2018-06-06",
    gone: &[],
};

/// The mainland site's host. The international site's is `cdn.intl.tencentcloudapi.com`.
const ENDPOINT: &str = "https://cdn.tencentcloudapi.com";

/// Tencent Cloud CDN as an entry under `cdns:` configures it.
pub struct TencentCdn {
    client: Client,
    options: Options,
    limits: Limits,
}

/// The options of an entry besides its credentials.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `area`: `mainland` or `overseas`. Default: the domain's own areas.
    pub area: Option<String>,
    /// `prefetch_area`: also `global`. Default: `area`; without that, Tencent uses `mainland`.
    pub prefetch_area: Option<String>,
    /// `url_encode`: let Tencent encode Chinese characters. Rarely needed, since targets are already
    /// percent-encoded.
    pub url_encode: Option<bool>,
    /// `user_agent`: the User-Agent of a prefetch at the origin. Tencent's default is `TencentCdn`.
    pub user_agent: Option<String>,
}

/// The limits of a new account: 10,000 URLs, 100 directories and 1,000 prefetches per day, for mainland and
/// overseas each; 1,000 URLs, 500 directories or 500 prefetches per request; 20 requests per second and action (API
/// 2018-06-06).
fn documented_limits() -> Limits {
    let limit = |per_request, per_day| Limit {
        per_request,
        per_day,
        per_day_configured: false,
        requests_per_second: 20,
    };
    Limits {
        kinds: BTreeMap::from([
            (PurgeKind::Url, limit(1_000, 10_000)),
            (PurgeKind::Directory, limit(500, 100)),
            (PurgeKind::Prefetch, limit(500, 1_000)),
        ]),
        queries_per_second: 20,
        // There is a limit (InvalidParameter.CdnUrlExceedLength), but it is not documented.
        url_length: None,
    }
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Cdn>> {
    let credentials = Credentials::read(section, &NAMES);
    let endpoint = endpoint(section, ENDPOINT);
    let signature = Signature::read(section);
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
    let client = Client::new(
        PRODUCT,
        endpoint?,
        credentials?,
        signature,
        outbound.clone(),
    );
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
        signature: Signature,
        options: Options,
    ) -> Self {
        let outbound = crate::cdn::fake::outbound();
        Self {
            client: Client::new(PRODUCT, endpoint, credentials, signature, outbound),
            options,
            limits: documented_limits(),
        }
    }

    /// The action for a batch and its parameters. Unset ones are null and are not sent.
    fn submission(&self, batch: &Batch) -> (&'static str, Value) {
        let Options {
            area,
            prefetch_area,
            url_encode,
            user_agent,
        } = &self.options;
        match batch.kind {
            PurgeKind::Url => (
                "PurgeUrlsCache",
                json!({ "Urls": batch.targets, "Area": area, "UrlEncode": url_encode }),
            ),
            PurgeKind::Directory => (
                "PurgePathCache",
                json!({
                    "Paths": batch.targets,
                    "FlushType": flush_type(batch),
                    "Area": area,
                    "UrlEncode": url_encode,
                }),
            ),
            PurgeKind::Prefetch => (
                "PushUrlsCache",
                json!({
                    "Urls": batch.targets,
                    "Area": prefetch_area.as_ref().or(area.as_ref()),
                    "UserAgent": user_agent,
                    "UrlEncode": url_encode,
                }),
            ),
        }
    }

    /// The area whose quota applies to a kind of purge.
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

#[async_trait]
impl Cdn for TencentCdn {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn account(&self) -> AccountId {
        self.client.account(KIND.name)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn submit(&self, batch: &Batch) -> Result<Option<TaskIds>, CdnError> {
        let (action, parameters) = self.submission(batch);
        self.client.submit(action, batch, &parameters).await
    }

    async fn follow(&self, tasks: &[InFlight], pace: &Pace) -> Result<Vec<Report>, CdnError> {
        log::follow(&self.client, tasks, &mut Paced::new(pace)).await
    }

    async fn find(
        &self,
        lost: &InFlight,
        others: &BTreeSet<TaskId>,
        pace: &Pace,
    ) -> Result<Option<TaskIds>, CdnError> {
        log::find(&self.client, lost, others, &mut Paced::new(pace)).await
    }

    fn clock_skew(&self) -> Option<ClockSkew> {
        self.client.clock_skew()
    }

    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError> {
        quota::ask(
            &self.client,
            &["DescribePurgeQuota", "DescribePushQuota"],
            |kind| self.quota_area(kind),
        )
        .await
    }
}
