//! A simulated QCloud API v2, the CDN's older API: `/v2/index.php`, from Tencent's pages of 2018. The real one was
//! closed in 2022.

mod actions;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Sandbox;
use super::account::{Account, Allowance, CdnService, KeyPair};
use super::cdn::CdnAccount;
use super::exchange::{Answer, Api, Request, form_pairs};
use super::service::Service;
use super::stand_in::{Kind, StandIn};
use super::tencent::signature::verify_v1;
use super::tencent::{SECRET_ID, SECRET_KEY};
use crate::purge::PurgeKind;

/// Its registration.
pub(super) const KIND: Kind = Kind {
    service: Service::QCLOUD,
    start: |_| StandIn::cdn(QCloud::new()),
};

impl Service {
    /// QCloud API v2.
    pub const QCLOUD: Self = Self::new("qcloud");
}

impl Sandbox {
    /// QCloud API v2.
    pub fn qcloud(&self) -> CdnAccount {
        self.cdn_at(Service::QCLOUD)
    }

    /// Makes QCloud return ids and module codes as numbers instead of text.
    pub fn answer_qcloud_numbers(&self, numbers: bool) {
        self.world.state_of(Service::QCLOUD, |qcloud: &mut QCloud| {
            qcloud.numbers = numbers
        });
    }
}

/// How far a request's time may be off, in seconds.
const WINDOW: i64 = 2 * 3_600;
/// Requests per minute and action.
const RATE: usize = 1_200;
/// The maximum size of a GET in bytes.
const MAX_GET: usize = 32 * 1024;
/// The maximum size of a POST in bytes.
const MAX_POST: usize = 1024 * 1024;

/// The API in front of an account.
pub(super) struct QCloud {
    pub account: Account,
    nonces: BTreeSet<(i64, u64)>,
    calls: Vec<(String, Timestamp)>,
    /// Whether ids and the module's codes are numbers instead of text: the documents show both.
    pub numbers: bool,
}

/// An error of the API.
pub(super) struct Refused {
    code: i64,
    /// The module's own code, in `codeDesc` and in front of the message.
    module: Option<i64>,
    message: String,
}

impl Refused {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            module: None,
            message: message.into(),
        }
    }

    fn module(module: i64, message: &str) -> Self {
        Self {
            code: 4_000,
            module: Some(module),
            message: message.to_owned(),
        }
    }
}

impl QCloud {
    /// 10,000 URLs, 100 directories and 1,000 prefetches per day.
    pub fn new() -> Self {
        let allowance = |per_request, per_day| Allowance {
            per_request,
            per_day,
        };
        Self {
            account: Account::new([
                (PurgeKind::Url, allowance(1_000, 10_000)),
                (PurgeKind::Directory, allowance(20, 100)),
                (PurgeKind::Prefetch, allowance(500, 1_000)),
            ]),
            nonces: BTreeSet::new(),
            calls: Vec::new(),
            numbers: false,
        }
    }

    fn call(&mut self, request: &Request, now: Timestamp) -> Result<Value, Refused> {
        let pairs = pairs(request);
        let find = |name: &str| {
            let found = pairs.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.as_str())
        };
        let required = |name: &str| {
            find(name).ok_or_else(|| Refused::new(4_000, format!("{name} is missing")))
        };
        let action = required("Action")?;
        let timestamp: i64 = required("Timestamp")?
            .parse()
            .map_err(|_| Refused::new(4_000, "Timestamp is not a number of seconds"))?;
        let nonce: u64 = required("Nonce")?
            .parse()
            .map_err(|_| Refused::new(4_000, "Nonce is not a number"))?;
        if required("SecretId")? != SECRET_ID {
            return Err(Refused::new(
                4_100,
                "Identity authentication failed: SecretId is unknown",
            ));
        }
        if find("Token") != self.account.token.as_deref() {
            return Err(Refused::new(
                4_100,
                "Identity authentication failed: Token is wrong",
            ));
        }
        required("Signature")?;
        let at = format!(
            "{}/v2/index.php",
            request.header("host").unwrap_or_default()
        );
        if !verify_v1(&request.method, &at, &pairs, SECRET_KEY) {
            return Err(Refused::new(
                4_100,
                "Identity authentication failed: the signature is wrong",
            ));
        }
        if (now.as_second() - timestamp).abs() > WINDOW {
            return Err(Refused::new(
                4_500,
                "Replay attack: Timestamp is more than two hours off",
            ));
        }
        if nonce == 0 || !self.nonces.insert((timestamp, nonce)) {
            return Err(Refused::new(4_500, "Replay attack: Nonce was used before"));
        }
        self.calls
            .retain(|(_, at)| now.duration_since(*at) < SignedDuration::from_mins(1));
        if self.calls.iter().filter(|(a, _)| a == action).count() >= RATE {
            return Err(over_rate());
        }
        self.calls.push((action.to_owned(), now));
        if self.account.migrated {
            return Err(Refused::new(6_200, "The API is out of service"));
        }
        actions::run(self, action, &pairs, now)
    }

    /// A module's code or an id, as text or as a number.
    fn either(&self, text: &str) -> Value {
        match text.parse::<u64>() {
            Ok(number) if self.numbers => json!(number),
            Ok(_) | Err(_) => json!(text),
        }
    }

    fn refusal(&self, refused: &Refused) -> Answer {
        let (message, description) = match refused.module {
            Some(module) => (
                format!("({module}){}", refused.message),
                self.either(&module.to_string()),
            ),
            None => (refused.message.clone(), json!("Failure")),
        };
        Answer::refusal(
            200,
            format!("{} {message}", refused.code),
            &json!({"code": refused.code, "message": message, "codeDesc": description}),
        )
    }
}

/// The parameters of a GET or POST.
fn pairs(request: &Request) -> Vec<(String, String)> {
    match request.method.as_str() {
        "POST" => form_pairs(&request.body),
        _ => request.query_pairs(),
    }
}

fn over_rate() -> Refused {
    Refused::new(4_400, "The request quota is exceeded")
}

impl CdnService for QCloud {
    fn keys(&self) -> KeyPair {
        KeyPair {
            names: ["secret_id", "secret_key"],
            id: SECRET_ID,
            secret: SECRET_KEY,
        }
    }

    fn account(&mut self) -> &mut Account {
        &mut self.account
    }
}

impl Api for QCloud {
    fn action(&self, request: &Request) -> String {
        let found = pairs(request)
            .into_iter()
            .find(|(name, _)| name == "Action");
        found.map(|(_, action)| action).unwrap_or_default()
    }

    fn summary(&self, request: &Request) -> String {
        request.summary()
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        let now = now + SignedDuration::from_secs(self.account.ahead);
        let (size, most) = match request.method.as_str() {
            "POST" => (request.body.len(), MAX_POST),
            _ => (request.query.len(), MAX_GET),
        };
        if size > most {
            return Answer::text(501, "Not Implemented\n");
        }
        let form = request.content_type() == "application/x-www-form-urlencoded";
        if request.path != "/v2/index.php" || (request.method == "POST" && !form) {
            return self.refusal(&Refused::new(4_000, "The request is not one of this API"));
        }
        let answer = match self.call(request, now) {
            Ok(mut body) => {
                if let Some(body) = body.as_object_mut() {
                    body.insert("code".into(), json!(0));
                    body.insert("message".into(), json!(""));
                    body.insert("codeDesc".into(), json!("Success"));
                }
                Answer::json(200, &body)
            }
            Err(refused) => self.refusal(&refused),
        };
        match self.account.ahead {
            0 => answer,
            _ => answer.with("date", now.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        }
    }

    fn throttled(&self, _now: Timestamp) -> Answer {
        self.refusal(&over_rate())
    }

    fn failure(&self, code: &str) -> Answer {
        let message = "The sandbox was told to fail";
        match code.split_once('/') {
            // `4000/9110`: the module's code after the common one.
            Some((_, module)) => {
                self.refusal(&Refused::module(module.parse().unwrap_or(9_000), message))
            }
            None => self.refusal(&Refused::new(code.parse().unwrap_or(6_000), message)),
        }
    }

    fn out_of_quota(&self, _action: &str) -> Answer {
        self.refusal(&over_rate())
    }
}
