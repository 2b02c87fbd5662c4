//! A simulated Huawei Cloud CDN: the calls below `/v1.0/cdn`, from Huawei's API reference and signing guide.

mod calls;
mod history;
mod signature;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Sandbox;
use super::account::{Account, Allowance, CdnService, KeyPair};
use super::cdn::CdnAccount;
use super::exchange::{Answer, Api, Request};
use super::service::Service;
use super::stand_in::{Kind, StandIn};
use crate::purge::PurgeKind;

const ACCESS_KEY: &str = "HWSANDBOX0123456789A";
const SECRET_KEY: &str = "HwSandboxSecretKey0123456789abcdefABCDEF";
/// The IAM token that replaces a signature.
const IAM_TOKEN: &str = "MIISandboxToken0123456789";

/// Its registration.
pub(super) const KIND: Kind = Kind {
    service: Service::HUAWEI_CDN,
    start: |_| StandIn::cdn(Huawei::new()),
};

impl Service {
    /// Huawei Cloud CDN, API v1.0.
    pub const HUAWEI_CDN: Self = Self::new("huawei-cdn");
}

impl Sandbox {
    /// Huawei Cloud CDN, API v1.0.
    pub fn huawei_cdn(&self) -> CdnAccount {
        self.cdn_at(Service::HUAWEI_CDN)
    }
}

impl CdnAccount {
    /// Huawei's IAM token, which replaces a signature.
    pub fn iam_token(&self) -> &'static str {
        IAM_TOKEN
    }
}

/// Failed signatures in a row that lock the access key.
const FAILURES: u32 = 5;
/// How long it is locked: "for a while", by the documents.
const LOCK: SignedDuration = SignedDuration::from_mins(15);

/// The API in front of an account.
pub(super) struct Huawei {
    pub account: Account,
    failures: u32,
    locked_until: Option<Timestamp>,
    requests: u64,
}

/// An error, in one of the service's formats.
pub(super) enum Trouble {
    /// From the gateway: flat, with its own HTTP status.
    Gateway(u16, &'static str, String),
    /// About a parameter: HTTP 400, flat.
    Parameter(String),
    /// From the business logic: HTTP 200, nested.
    Business(&'static str, String),
}

impl Huawei {
    /// 2,000 files, 100 directories and 1,000 prefetches per day.
    pub fn new() -> Self {
        let allowance = |per_request, per_day| Allowance {
            per_request,
            per_day,
        };
        Self {
            account: Account::new([
                (PurgeKind::Url, allowance(1_000, 2_000)),
                (PurgeKind::Directory, allowance(100, 100)),
                (PurgeKind::Prefetch, allowance(1_000, 1_000)),
            ]),
            failures: 0,
            locked_until: None,
            requests: 0,
        }
    }

    /// Accepts the token or a valid signature. Several bad signatures in a row lock the key, also for good ones.
    fn authenticate(&mut self, request: &Request, now: Timestamp) -> Result<(), Trouble> {
        if let Some(token) = request.header("x-auth-token") {
            return match token {
                IAM_TOKEN => Ok(()),
                _ => Err(Trouble::Gateway(
                    401,
                    "APIGW.0307",
                    "The token must be updated.".into(),
                )),
            };
        }
        let refuse = |message: &str| Trouble::Gateway(401, "APIGW.0301", message.to_owned());
        if self.locked_until.is_some_and(|until| now < until) {
            return Err(refuse(
                "Incorrect IAM authentication information: the access key is locked",
            ));
        }
        if request.header("x-security-token") != self.account.token.as_deref() {
            return Err(refuse(
                "Incorrect IAM authentication information: x-security-token is wrong",
            ));
        }
        match signature::verify(request, ACCESS_KEY, SECRET_KEY, now) {
            Ok(()) => {
                self.failures = 0;
                self.locked_until = None;
                Ok(())
            }
            Err(message) => {
                self.failures += 1;
                if self.failures > FAILURES {
                    self.failures = 0;
                    self.locked_until = Some(now + LOCK);
                }
                Err(refuse(message))
            }
        }
    }

    fn call(&mut self, request: &Request, now: Timestamp) -> Result<Value, Trouble> {
        self.authenticate(request, now)?;
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["v1.0", "cdn", rest @ ..] = parts.as_slice() else {
            return Err(no_such_api());
        };
        let account = &mut self.account;
        match (request.method.as_str(), rest) {
            ("POST", ["content", "refresh-tasks"]) => calls::refresh(account, request, now),
            ("POST", ["content", "preheating-tasks"]) => calls::preheat(account, request, now),
            ("GET", ["historytasks", id, "detail"]) => history::detail(account, id, request, now),
            ("GET", ["historytasks"]) => history::list(account, request, now),
            ("GET", ["contentgateway", "url-tasks"]) => history::url_tasks(account, request, now),
            ("GET", ["quota"]) => calls::quota(account, request, now),
            _ => Err(no_such_api()),
        }
    }

    fn trouble(&self, trouble: &Trouble) -> Answer {
        let id = self.request_id();
        match trouble {
            Trouble::Gateway(status, code, message) => Answer::refusal(
                *status,
                *code,
                &json!({"error_code": code, "error_msg": message, "request_id": id}),
            ),
            Trouble::Parameter(message) => Answer::refusal(
                400,
                "CDN.0001",
                &json!({"error_code": "CDN.0001", "error_msg": message}),
            ),
            Trouble::Business(code, message) => Answer::refusal(
                200,
                *code,
                &json!({"error": {"error_code": code, "error_msg": message}}),
            ),
        }
    }

    fn request_id(&self) -> String {
        format!("7b1c2d3e4f5a6b7c8d9e{:012x}", self.requests)
    }
}

impl CdnService for Huawei {
    fn keys(&self) -> KeyPair {
        KeyPair {
            names: ["access_key", "secret_key"],
            id: ACCESS_KEY,
            secret: SECRET_KEY,
        }
    }

    fn account(&mut self) -> &mut Account {
        &mut self.account
    }
}

impl Api for Huawei {
    fn action(&self, request: &Request) -> String {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().skip(2).map(String::as_str).collect();
        let what = match parts.as_slice() {
            ["historytasks", _, "detail"] => "detail",
            ["content" | "contentgateway", what] => what,
            [what, ..] => what,
            [] => "",
        };
        format!("{} {what}", request.method)
    }

    fn summary(&self, request: &Request) -> String {
        request.summary()
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        self.requests += 1;
        let now = now + SignedDuration::from_secs(self.account.ahead);
        let answer = match self.call(request, now) {
            Ok(body) => Answer::json(200, &body),
            Err(trouble) => self.trouble(&trouble),
        };
        let answer = answer.with("x-request-id", self.request_id());
        match self.account.ahead {
            0 => answer,
            _ => answer.with("date", now.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        }
    }

    fn throttled(&self, _now: Timestamp) -> Answer {
        self.trouble(&over_rate(30))
    }

    fn failure(&self, code: &str) -> Answer {
        let message = format!("The sandbox was told to answer {code}.");
        let status = match code {
            "APIGW.0101" => 404,
            "APIGW.0301" | "APIGW.0302" | "APIGW.0303" | "APIGW.0307" | "CDN.0002" => 401,
            "APIGW.0308" => 429,
            "APIGW.0402" | "CDN.0004" | "CDN.0020" | "CDN.0021" => 403,
            "CDN.0000" => 500,
            "CDN.0001" | "CDN.0170" => 400,
            "CDN.0003" => 404,
            other if other.starts_with("CDN.") => 200,
            _ => 500,
        };
        let flat = json!({"error_code": code, "error_msg": message});
        let body = if status == 200 {
            json!({"error": flat})
        } else {
            flat
        };
        Answer::refusal(status, code, &body)
    }

    fn out_of_quota(&self, _action: &str) -> Answer {
        self.trouble(&calls::over_limit())
    }
}

fn no_such_api() -> Trouble {
    let message = "The API does not exist or has not been published in the environment.";
    Trouble::Gateway(404, "APIGW.0101", message.into())
}

fn over_rate(limit: usize) -> Trouble {
    Trouble::Gateway(
        429,
        "APIGW.0308",
        format!(
            "The throttling threshold has been reached: policy user over ratelimit,limit:{limit},time:1 second"
        ),
    )
}

/// A request's query, read strictly: only known parameters, each once.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(request: &Request, known: &[&str]) -> Result<Self, Trouble> {
        let pairs = request.query_pairs();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Trouble::Parameter(format!("{name} is not a parameter")));
            }
            if pairs.iter().take(at).any(|(other, _)| other == name) {
                return Err(Trouble::Parameter(format!("{name} came twice")));
            }
        }
        Ok(Self(pairs))
    }

    fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, from: i64, to: i64) -> Result<Option<i64>, Trouble> {
        match self.text(name).map(str::parse::<i64>) {
            None => Ok(None),
            Some(Ok(number)) if (from..=to).contains(&number) => Ok(Some(number)),
            Some(_) => Err(Trouble::Parameter(format!(
                "{name} must be in {from}..={to}"
            ))),
        }
    }

    fn word(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, Trouble> {
        match self.text(name) {
            Some(word) if !allowed.contains(&word) => Err(Trouble::Parameter(format!(
                "{name} must be one of {}",
                allowed.join(", ")
            ))),
            word => Ok(word),
        }
    }
}
