//! Tencent Cloud ECDN, API 2019-10-12, which is being merged into CDN.
//!
//! It purges URLs and directories, but cannot prefetch. Once it answers that it has moved, purges go to the entry
//! that `migrated_to` names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

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

/// `kind: tencent-ecdn`.
pub const KIND: CdnKind = CdnKind {
    name: "tencent-ecdn",
    read,
    prefetches: false,
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

const PRODUCT: Product = Product {
    name: "Tencent ECDN",
    service: "ecdn",
    version: "2019-10-12",
    // Tencent's SDK drops ECDN's actions one by one: an action that no longer exists has moved.
    gone: &["InvalidAction", "NoSuchProduct", "NoSuchVersion"],
};

const ENDPOINT: &str = "https://ecdn.tencentcloudapi.com";

/// Tencent Cloud ECDN as an entry under `cdns:` configures it.
pub struct TencentEcdn {
    client: Client,
    limits: Limits,
    migrated_to: Option<String>,
}

/// The limits of a new account: 10,000 URLs and 100 directories per day; 1,000 URLs or 20 directories per request;
/// 20 requests per second and action (API 2019-10-12, `DescribePurgeQuota`).
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
        ]),
        queries_per_second: 20,
        url_length: None,
    }
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Cdn>> {
    let credentials = Credentials::read(section, &NAMES);
    let endpoint = endpoint(section, ENDPOINT);
    let signature = Signature::read(section);
    let migrated_to = section.text("migrated_to").map(|name| name.value);
    let limits = limits::read(section, documented_limits());
    let client = Client::new(
        PRODUCT,
        endpoint?,
        credentials?,
        signature,
        outbound.clone(),
    );
    Some(Arc::new(TencentEcdn {
        client,
        limits,
        migrated_to,
    }))
}

impl TencentEcdn {
    #[cfg(test)]
    pub(super) fn for_test(
        endpoint: url::Url,
        credentials: Credentials,
        signature: Signature,
        migrated_to: Option<&str>,
    ) -> Self {
        let outbound = crate::cdn::fake::outbound();
        Self {
            client: Client::new(PRODUCT, endpoint, credentials, signature, outbound),
            limits: documented_limits(),
            migrated_to: migrated_to.map(str::to_owned),
        }
    }
}

#[async_trait]
impl Cdn for TencentEcdn {
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
        let (action, parameters) = match batch.kind {
            PurgeKind::Url => ("PurgeUrlsCache", json!({ "Urls": batch.targets })),
            PurgeKind::Directory => (
                "PurgePathCache",
                json!({ "Paths": batch.targets, "FlushType": flush_type(batch) }),
            ),
            PurgeKind::Prefetch => return Err(self.client.impossible("prefetch")),
        };
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
        quota::ask(&self.client, &["DescribePurgeQuota"], |_| None).await
    }

    fn migrated_to(&self) -> Option<&str> {
        self.migrated_to.as_deref()
    }
}
