//! Tencent's CDN by API 2.0 (`QCloud`), whose end was announced for 2022-11-30.
//!
//! Kept for accounts and compatible services that still support it. Its answers are loosely typed PHP: numbers as
//! text, empty arrays for objects, tasks without ids.

mod client;
mod log;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use self::client::Client;
use super::credentials::{Credentials, endpoint};
use super::sign::v1;
use super::tencent::NAMES;
use super::{
    Batch, Cdn, CdnError, CdnKind, InFlight, Limit, Limits, Pace, Paced, Quota, Report, limits,
};
use crate::account::AccountId;
use crate::clock::ClockSkew;
use crate::http::Outbound;
use crate::purge::{PurgeKind, TaskId, TaskIds};
use crate::settings::{Entry, Section, Variable};

/// `kind: qcloud`.
pub const KIND: CdnKind = CdnKind {
    name: "qcloud",
    read,
    prefetches: true,
    entry: Entry {
        keys: r#"secret_id: ${TENCENTCLOUD_SECRET_ID}
secret_key: ${TENCENTCLOUD_SECRET_KEY}
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

const ENDPOINT: &str = "https://cdn.api.qcloud.com";

/// API 2.0 as an entry under `cdns:` configures it.
pub struct QCloud {
    client: Client,
    limits: Limits,
    migrated_to: Option<String>,
}

/// 1,000 URLs or 20 directories per request, 10,000 and 100 per day, 1,200 requests per minute; 20 prefetches per
/// request and 1,000 per day (`CdnPusherV2`); 300 queries per minute (`GetPushLogs`, the slower of the two logs).
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
            (PurgeKind::Directory, limit(20, 100)),
            (PurgeKind::Prefetch, limit(20, 1_000)),
        ]),
        queries_per_second: 5,
        url_length: None,
    }
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Cdn>> {
    section.warning(
        section.at(),
        "Tencent announced the end of API 2.0 for 2022-11-30",
        Some("use `kind: tencent-cdn`, which takes the same secrets".to_owned()),
    );
    let credentials = Credentials::read(section, &NAMES);
    let endpoint = endpoint(section, ENDPOINT);
    let method = section.word("signature", &["hmac-sha256", "hmac-sha1"]);
    let method = match method.as_ref().map(|word| word.value.as_str()) {
        Some("hmac-sha1") => v1::Method::HmacSha1,
        Some(_) | None => v1::Method::HmacSha256,
    };
    let migrated_to = section.text("migrated_to").map(|name| name.value);
    let limits = limits::read(section, documented_limits());
    let client = Client::new(endpoint?, credentials?, method, outbound.clone());
    Some(Arc::new(QCloud {
        client,
        limits,
        migrated_to,
    }))
}

impl QCloud {
    #[cfg(test)]
    fn for_test(endpoint: url::Url, method: v1::Method) -> Self {
        let credentials = Credentials {
            id: "AKIDEXAMPLE".into(),
            key: "SecretKeyExample".into(),
            token: None,
        };
        Self {
            client: Client::new(endpoint, credentials, method, super::fake::outbound()),
            limits: documented_limits(),
            migrated_to: None,
        }
    }
}

#[async_trait]
impl Cdn for QCloud {
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
        // A directory is always purged completely: API 2.0 has no modes.
        let (action, parameters) = match batch.kind {
            PurgeKind::Url => ("RefreshCdnUrl", json!({ "urls": batch.targets })),
            PurgeKind::Directory => ("RefreshCdnDir", json!({ "dirs": batch.targets })),
            PurgeKind::Prefetch => ("CdnPusherV2", json!({ "urls": batch.targets })),
        };
        let data = self.client.submit(action, batch, &parameters).await?;
        Ok(log::task(&data))
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
        Ok(BTreeMap::new())
    }

    fn migrated_to(&self) -> Option<&str> {
        self.migrated_to.as_deref()
    }
}
