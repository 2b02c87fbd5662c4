//! Huawei Cloud CDN, API v1.0.
//!
//! A batch becomes a task. The task's URLs are listed by its id or, if the account may do that, by time. Errors
//! often have HTTP status 200.

mod client;
mod tasks;
mod url_variants;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use serde_json::{Value, json};

use self::client::{Auth, Call, Client};
use super::credentials::{Credentials, Named, Names, endpoint};
use super::matching::AnyId;
use super::{
    Batch, Cdn, CdnError, CdnKind, ErrorClass, InFlight, Limit, Limits, Pace, Paced, Quota, Report,
    limits,
};
use crate::account::AccountId;
use crate::clock::ClockSkew;
use crate::http::Outbound;
use crate::purge::{Mode, PurgeKind, TaskId, TaskIds};
use crate::settings::{Entry, Section, Variable};

/// `kind: huawei-cdn`.
pub const KIND: CdnKind = CdnKind {
    name: "huawei-cdn",
    read,
    prefetches: true,
    entry: Entry {
        keys: r#"access_key: ${HUAWEICLOUD_SDK_AK}
secret_key: ${HUAWEICLOUD_SDK_SK}
# endpoint: https://cdn.myhuaweicloud.eu   # Huawei in Europe
# enterprise_project_id: all               # IAM sub-users need it
"#,
        variables: &[
            Variable {
                name: "HUAWEICLOUD_SDK_AK",
                what: "an access key of Huawei Cloud that may purge: console, My Credentials, Access Keys (docs/start/huawei.md)",
            },
            Variable {
                name: "HUAWEICLOUD_SDK_SK",
                what: "its secret half, which is shown once",
            },
        ],
    },
};

/// The global site's host; Europe has `cdn.myhuaweicloud.eu`.
const ENDPOINT: &str = "https://cdn.myhuaweicloud.com";

const NAMES: Names = Names {
    id: Named {
        key: "access_key",
        variable: "HUAWEICLOUD_SDK_AK",
    },
    key: Named {
        key: "secret_key",
        variable: "HUAWEICLOUD_SDK_SK",
    },
    token: Named {
        key: "security_token",
        variable: "HUAWEICLOUD_SDK_SECURITY_TOKEN",
    },
};

/// "The number of URLs exceeds the limit", of a request or of a day.
const OVER_A_LIMIT: &str = "CDN.0110";

/// Huawei Cloud CDN as an entry under `cdns:` configures it.
pub struct HuaweiCdn {
    client: Client,
    options: Options,
    limits: Limits,
    /// Set once the account turned out not to have the query by time, which some accounts must request from Huawei.
    url_tasks_refused: AtomicBool,
}

/// The options of an entry besides its credentials.
#[derive(Clone, Debug)]
struct Options {
    /// `enterprise_project_id`: required for IAM sub-users; `all` for every project.
    enterprise_project_id: Option<String>,
    /// `zh_url_encode`: purge URLs with non-ASCII characters in both forms, encoded and raw, which Huawei caches
    /// separately. `false`: only the encoded form, as planned. Default: true.
    zh_url_encode: bool,
}

/// 1,000 URLs, 100 directories or 1,000 prefetches per request (`CreateRefreshTasks`, `CreatePreheatingTasks`);
/// 2,000 URLs and 1,000 prefetches per day from the quota example, and 100 directories from the console.
/// `ShowUrlTaskInfo` accepts 5 requests per second; no document gives the rate of the submitting actions, so they
/// get the same.
fn documented_limits() -> Limits {
    let limit = |per_request, per_day| Limit {
        per_request,
        per_day,
        per_day_configured: false,
        requests_per_second: 5,
    };
    Limits {
        kinds: BTreeMap::from([
            (PurgeKind::Url, limit(1_000, 2_000)),
            (PurgeKind::Directory, limit(100, 100)),
            (PurgeKind::Prefetch, limit(1_000, 1_000)),
        ]),
        queries_per_second: 5,
        url_length: Some(4_096),
    }
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Cdn>> {
    let auth = match section.secret("token") {
        Some(token) => Some(Auth::Token(token)),
        None => Credentials::read(section, &NAMES).map(Auth::Keys),
    };
    let endpoint = endpoint(section, ENDPOINT);
    let options = Options {
        enterprise_project_id: section.text("enterprise_project_id").map(|text| text.value),
        zh_url_encode: section.flag("zh_url_encode").is_none_or(|flag| flag.value),
    };
    let limits = limits::read(section, documented_limits());
    let client = Client::new(endpoint?, auth?, outbound.clone());
    Some(Arc::new(HuaweiCdn {
        client,
        options,
        limits,
        url_tasks_refused: AtomicBool::new(false),
    }))
}

impl HuaweiCdn {
    #[cfg(test)]
    fn for_test(endpoint: url::Url, auth: Auth, project: Option<&str>, both_forms: bool) -> Self {
        Self {
            client: Client::new(endpoint, auth, super::fake::outbound()),
            options: Options {
                enterprise_project_id: project.map(str::to_owned),
                zh_url_encode: both_forms,
            },
            limits: documented_limits(),
            url_tasks_refused: AtomicBool::new(false),
        }
    }

    /// The parameter for the enterprise project of a call.
    fn project(&self) -> Vec<(String, String)> {
        let project = self.options.enterprise_project_id.iter();
        project
            .map(|id| ("enterprise_project_id".to_owned(), id.clone()))
            .collect()
    }

    /// Submits URLs as one task.
    async fn submit_urls(&self, batch: &Batch, urls: &[String]) -> Result<TaskId, CdnError> {
        let (call, field) = self.submission(batch, urls);
        let answered = self.client.call(&call).await?;
        let id = answered
            .body
            .get(field)
            .map(<AnyId as serde::Deserialize>::deserialize);
        match id {
            Some(Ok(id)) if id.task().is_some() => Ok(TaskId::Vendor(id.0)),
            Some(_) | None => {
                let why = format!("its {field} is no id");
                Err(self.client.malformed(&call, &answered, &why))
            }
        }
    }

    fn submission(&self, batch: &Batch, urls: &[String]) -> (Call, &'static str) {
        let refresh = "/v1.0/cdn/content/refresh-tasks";
        let (path, field, task) = match batch.kind {
            PurgeKind::Url => (
                refresh,
                "refresh_task",
                json!({ "type": "file", "urls": urls }),
            ),
            PurgeKind::Directory => (refresh, "refresh_task", directories(batch.mode, urls)),
            PurgeKind::Prefetch => (
                "/v1.0/cdn/content/preheating-tasks",
                "preheating_task",
                json!({ "urls": urls }),
            ),
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        let call = Call {
            what: format!("{name} ({})", batch.counted()),
            path: path.to_owned(),
            query: self.project(),
            body: Some(json!({ field: task })),
        };
        (call, field)
    }

    /// Distinguishes a day's limit from a request's: if the day's quota is not used up, a smaller batch succeeds.
    async fn which_limit(&self, batch: &Batch, mut error: CdnError) -> CdnError {
        let used_up = match self.quota().await {
            Ok(quotas) => quotas.get(&batch.kind).is_none_or(|quota| quota.left == 0),
            Err(_) => true,
        };
        error.class = if used_up || batch.targets.len() < 2 {
            ErrorClass::QuotaDay
        } else {
            ErrorClass::Split
        };
        error
    }
}

/// Huawei's default mode is `all`, which is used unless a rule says otherwise.
fn directories(mode: Option<Mode>, urls: &[String]) -> Value {
    match mode {
        None => json!({ "type": "directory", "urls": urls }),
        Some(Mode::Delete) => json!({ "type": "directory", "mode": "all", "urls": urls }),
        Some(Mode::Flush) => {
            json!({ "type": "directory", "mode": "detect_modify_refresh", "urls": urls })
        }
    }
}

#[async_trait]
impl Cdn for HuaweiCdn {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn account(&self) -> AccountId {
        self.client.account(KIND.name)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Files and directories share the action `CreateRefreshTasks`, whose body distinguishes them; prefetches use
    /// `CreatePreheatingTasks`.
    fn action(&self, kind: PurgeKind) -> &'static str {
        match kind {
            PurgeKind::Url | PurgeKind::Directory => "refresh",
            PurgeKind::Prefetch => "preheating",
        }
    }

    async fn submit(&self, batch: &Batch) -> Result<Option<TaskIds>, CdnError> {
        let mut urls = batch.targets.clone();
        if self.options.zh_url_encode && batch.kind != PurgeKind::Prefetch {
            urls.extend(
                batch
                    .targets
                    .iter()
                    .filter_map(|url| url_variants::raw(url)),
            );
        }
        let per_request = self
            .limits
            .kinds
            .get(&batch.kind)
            .map_or(usize::MAX, |limit| limit.per_request);
        // With both forms of many URLs, a batch may take two requests and thus two tasks.
        let mut ids = Vec::new();
        for urls in urls.chunks(per_request.max(1)) {
            match self.submit_urls(batch, urls).await {
                Ok(id) => ids.push(id),
                Err(error) if error.vendor_code() == Some(OVER_A_LIMIT) => {
                    return Err(self.which_limit(batch, error).await);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(TaskIds::new(ids))
    }

    async fn follow(&self, tasks: &[InFlight], pace: &Pace) -> Result<Vec<Report>, CdnError> {
        tasks::follow(self, tasks, &mut Paced::new(pace)).await
    }

    async fn find(
        &self,
        lost: &InFlight,
        others: &BTreeSet<TaskId>,
        pace: &Pace,
    ) -> Result<Option<TaskIds>, CdnError> {
        tasks::find(self, lost, others, &mut Paced::new(pace)).await
    }

    fn clock_skew(&self) -> Option<ClockSkew> {
        self.client.clock_skew()
    }

    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError> {
        let call = Call {
            what: "quota".to_owned(),
            path: "/v1.0/cdn/quota".to_owned(),
            query: Vec::new(),
            body: None,
        };
        let answered = self.client.call(&call).await?;
        let number = |quota: &Value, field| quota.get(field).and_then(Value::as_u64);
        let quotas = answered.body.get("quotas").and_then(Value::as_array);
        Ok(quotas
            .into_iter()
            .flatten()
            .filter_map(|quota| {
                let kind = match quota.get("type").and_then(Value::as_str)? {
                    "file_refresh" => PurgeKind::Url,
                    "dir_refresh" => PurgeKind::Directory,
                    "preheat" => PurgeKind::Prefetch,
                    _ => return None,
                };
                let total = number(quota, "quota_limit")?;
                let left = total.saturating_sub(number(quota, "used")?);
                let quota = Quota {
                    per_request: None,
                    total,
                    left,
                };
                Some((kind, quota))
            })
            .collect())
    }
}
