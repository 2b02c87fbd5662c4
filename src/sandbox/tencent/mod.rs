//! A simulated Tencent Cloud CDN (API 3.0, version 2018-06-06) and ECDN (2019-10-12), from Tencent's pages on the
//! purge and prefetch actions and on the signature methods.

mod actions;
mod desk;
mod parameters;
mod records;
pub(in crate::sandbox) mod signature;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::desk::Desk;
use self::parameters::Parameters;
use self::signature::{Keys, Refused, check_time, verify_tc3, verify_v1};
use super::Sandbox;
use super::account::{Account, Allowance, CdnService, KeyPair};
use super::cdn::CdnAccount;
use super::exchange::{Answer, Api, Request, form_pairs};
use super::service::Service;
use super::stand_in::{Kind, StandIn};
use crate::purge::PurgeKind;

pub(super) const SECRET_ID: &str = "AKIDsandbox0123456789abcdefghijklmnop";
pub(super) const SECRET_KEY: &str = "sandboxSecretKey0123456789abcdef";

/// How the CDN is registered.
pub(super) const CDN: Kind = Kind {
    service: Service::TENCENT_CDN,
    start: |_| StandIn::cdn(Tencent::cdn()),
};

/// How ECDN is registered.
pub(super) const ECDN: Kind = Kind {
    service: Service::TENCENT_ECDN,
    start: |_| StandIn::cdn(Tencent::ecdn()),
};

impl Service {
    /// Tencent Cloud CDN, API 3.0, version 2018-06-06.
    pub const TENCENT_CDN: Self = Self::new("tencent-cdn");

    /// Tencent Cloud ECDN, API 3.0, version 2019-10-12.
    pub const TENCENT_ECDN: Self = Self::new("tencent-ecdn");
}

impl Sandbox {
    /// Tencent Cloud CDN, API 3.0, version 2018-06-06.
    pub fn tencent_cdn(&self) -> CdnAccount {
        self.cdn_at(Service::TENCENT_CDN)
    }

    /// Tencent Cloud ECDN, API 3.0, version 2019-10-12.
    pub fn tencent_ecdn(&self) -> CdnAccount {
        self.cdn_at(Service::TENCENT_ECDN)
    }
}

/// Requests a second for each action.
const RATE: usize = 20;
/// Bytes of a POST signed with TC3.
const MAX_TC3: usize = 10 * 1024 * 1024;
/// Bytes of a POST signed with method v1.
const MAX_V1: usize = 1024 * 1024;
/// Bytes of a GET.
const MAX_GET: usize = 32 * 1024;

/// Which of the two services it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Cdn,
    /// The older one for dynamic content, merged into the CDN since.
    Ecdn,
}

/// The API in front of an account.
pub(super) struct Tencent {
    product: Product,
    pub account: Account,
    requests: u64,
}

impl Tencent {
    /// The CDN with its default quotas: 10,000 URLs, 100 directories and 1,000 prefetches a day in each area.
    pub fn cdn() -> Self {
        Self::new(
            Product::Cdn,
            [
                (PurgeKind::Url, 1_000, 10_000),
                (PurgeKind::Directory, 500, 100),
                (PurgeKind::Prefetch, 500, 1_000),
            ],
        )
    }

    /// ECDN with its default quotas.
    pub fn ecdn() -> Self {
        let quotas = [
            (PurgeKind::Url, 1_000, 10_000),
            (PurgeKind::Directory, 20, 100),
        ];
        Self::new(Product::Ecdn, quotas)
    }

    fn new<const N: usize>(product: Product, quotas: [(PurgeKind, usize, usize); N]) -> Self {
        let allowance = |(kind, per_request, per_day)| {
            let allowance = Allowance {
                per_request,
                per_day,
            };
            (kind, allowance)
        };
        Self {
            product,
            account: Account::new(quotas.map(allowance)),
            requests: 0,
        }
    }

    fn service(&self) -> &'static str {
        match self.product {
            Product::Cdn => "cdn",
            Product::Ecdn => "ecdn",
        }
    }

    fn version(&self) -> &'static str {
        match self.product {
            Product::Cdn => "2018-06-06",
            Product::Ecdn => "2019-10-12",
        }
    }

    fn call(&mut self, request: &Request, now: Timestamp) -> Result<Map<String, Value>, Refused> {
        let (common, mut parameters) = self.authenticate(request, now)?;
        let action = common.action.ok_or_else(|| parameters::missing("Action"))?;
        let version = common
            .version
            .ok_or_else(|| parameters::missing("Version"))?;
        if version != self.version() {
            return Err(Refused::new(
                "NoSuchVersion",
                format!("The API version {version} does not exist."),
            ));
        }
        let Some(run) = actions::find(self.product, &action) else {
            return Err(Refused::new(
                "InvalidAction",
                format!("The API {action} does not exist."),
            ));
        };
        if !self.account.within_rate(&action, RATE, now) {
            return Err(over_rate());
        }
        if self.account.migrated {
            return Err(match self.product {
                Product::Cdn => Refused::new(
                    "OperationDenied.ProductUpgraded",
                    "The service has been upgraded to EdgeOne. Please use EdgeOne.",
                ),
                Product::Ecdn => Refused::new(
                    "UnauthorizedOperation.EcdnMigratedCdn",
                    "Please go to the CDN console for operation.",
                ),
            });
        }
        let mut desk = Desk {
            account: &mut self.account,
            product: self.product,
            now,
        };
        run(&mut desk, &mut parameters)
    }

    /// Checks who calls, by either signature method, and separates the protocol's parameters from the action's.
    fn authenticate(
        &self,
        request: &Request,
        now: Timestamp,
    ) -> Result<(Common, Parameters), Refused> {
        if request.path != "/" {
            return Err(Refused::new("InvalidRequest", "The path must be /."));
        }
        let keys = Keys {
            id: SECRET_ID,
            secret: SECRET_KEY,
            token: self.account.token.as_deref(),
        };
        let size = match request.method.as_str() {
            "GET" => request.query.len(),
            "POST" => request.body.len(),
            other => {
                return Err(Refused::new(
                    "InvalidRequest",
                    format!("The method {other} is not supported."),
                ));
            }
        };
        let signed_in_header = request.header("authorization").is_some();
        let most = match (request.method.as_str(), signed_in_header) {
            ("GET", _) => MAX_GET,
            (_, true) => MAX_TC3,
            (_, false) => MAX_V1,
        };
        if size > most {
            return Err(Refused::new(
                "RequestSizeLimitExceeded",
                format!("The request is larger than {most} bytes."),
            ));
        }
        if signed_in_header {
            self.authenticate_tc3(request, &keys, now)
        } else {
            self.authenticate_v1(request, &keys, now)
        }
    }

    fn authenticate_tc3(
        &self,
        request: &Request,
        keys: &Keys<'_>,
        now: Timestamp,
    ) -> Result<(Common, Parameters), Refused> {
        verify_tc3(request, self.service(), keys, now)?;
        let content_type = request.content_type();
        let parameters = match (request.method.as_str(), content_type.as_str()) {
            ("GET", "application/x-www-form-urlencoded") => {
                Parameters::from_pairs(&request.query_pairs())?
            }
            ("POST", "application/json") => Parameters::from_json(&request.body)?,
            (method, other) => {
                return Err(Refused::new(
                    "InvalidRequest",
                    format!("A {method} signed with TC3 cannot be {other}."),
                ));
            }
        };
        let header = |name| request.header(name).map(str::to_owned);
        let common = Common {
            action: header("x-tc-action"),
            version: header("x-tc-version"),
        };
        Ok((common, parameters))
    }

    fn authenticate_v1(
        &self,
        request: &Request,
        keys: &Keys<'_>,
        now: Timestamp,
    ) -> Result<(Common, Parameters), Refused> {
        let pairs = match (request.method.as_str(), request.content_type().as_str()) {
            ("GET", _) => request.query_pairs(),
            ("POST", "application/x-www-form-urlencoded") => form_pairs(&request.body),
            (_, other) => {
                return Err(Refused::new(
                    "InvalidRequest",
                    format!("A POST with its signature among the parameters cannot be {other}."),
                ));
            }
        };
        let find = |name: &str| {
            let found = pairs.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.as_str())
        };
        if find("Signature").is_none() {
            return Err(parameters::missing("Signature"));
        }
        check_time(find("Timestamp"), now)?;
        match find("Nonce").map(str::parse::<u64>) {
            None => return Err(parameters::missing("Nonce")),
            Some(Ok(nonce)) if nonce > 0 => {}
            Some(_) => {
                return Err(Refused::new(
                    "InvalidParameter",
                    "Nonce must be a positive integer.",
                ));
            }
        }
        if find("SecretId") != Some(keys.id) {
            return Err(Refused::new(
                "AuthFailure.SecretIdNotFound",
                "The SecretId is not found, please ensure that your SecretId is correct.",
            ));
        }
        if find("Token") != keys.token {
            return Err(Refused::new(
                "AuthFailure.TokenFailure",
                "The token is not the one that belongs to the SecretId.",
            ));
        }
        let at = format!("{}/", request.header("host").unwrap_or_default());
        if !verify_v1(&request.method, &at, &pairs, keys.secret) {
            return Err(Refused::new(
                "AuthFailure.SignatureFailure",
                "The provided credentials could not be validated. Please check your signature is correct.",
            ));
        }
        let common = Common {
            action: find("Action").map(str::to_owned),
            version: find("Version").map(str::to_owned),
        };
        let mut parameters = Parameters::from_pairs(&pairs)?;
        for name in PROTOCOL {
            parameters.ignore(name);
        }
        Ok((common, parameters))
    }

    fn request_id(&self) -> String {
        format!("4d5a83f8-a61f-445b-8036-{:012x}", self.requests)
    }
}

/// The parameters of signature method v1 that belong to no action. `RequestClient` names the SDK.
const PROTOCOL: [&str; 11] = [
    "Action",
    "Version",
    "Timestamp",
    "Nonce",
    "SecretId",
    "Signature",
    "SignatureMethod",
    "Region",
    "Token",
    "Language",
    "RequestClient",
];

struct Common {
    action: Option<String>,
    version: Option<String>,
}

impl CdnService for Tencent {
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

impl Api for Tencent {
    fn action(&self, request: &Request) -> String {
        if let Some(action) = request.header("x-tc-action") {
            return action.to_owned();
        }
        let pairs = match request.method.as_str() {
            "GET" => request.query_pairs(),
            _ => form_pairs(&request.body),
        };
        let found = pairs.into_iter().find(|(name, _)| name == "Action");
        found.map(|(_, action)| action).unwrap_or_default()
    }

    fn summary(&self, request: &Request) -> String {
        request.summary()
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        self.requests += 1;
        let now = now + jiff::SignedDuration::from_secs(self.account.ahead);
        let answer = match self.call(request, now) {
            Ok(mut fields) => {
                fields.insert("RequestId".into(), json!(self.request_id()));
                Answer::json(200, &json!({"Response": fields}))
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
        self.refusal(&Refused::new(
            code,
            format!("The sandbox was told to answer {code}."),
        ))
    }

    fn out_of_quota(&self, action: &str) -> Answer {
        self.refusal(&actions::day_limit(actions::kind_of(action)))
    }
}

impl Tencent {
    /// An error: HTTP 200 like everything else.
    fn refusal(&self, refused: &Refused) -> Answer {
        let code = match self.product {
            Product::Cdn => refused.code.clone(),
            Product::Ecdn => ecdn_code(&refused.code),
        };
        Answer::refusal(
            200,
            code.clone(),
            &json!({"Response": {
                "Error": {"Code": code, "Message": refused.message},
                "RequestId": self.request_id(),
            }}),
        )
    }
}

/// ECDN's name for an error of the CDN: hosts are domains there.
fn ecdn_code(code: &str) -> String {
    match code {
        "ResourceNotFound.CdnHostNotExists" => "ResourceNotFound.EcdnDomainNotExists".to_owned(),
        "ResourceUnavailable.CdnHostIsNotOnline" => {
            "ResourceUnavailable.EcdnDomainIsNotOnline".to_owned()
        }
        other => other.replace(".Cdn", ".Ecdn"),
    }
}

fn over_rate() -> Refused {
    Refused::new(
        "RequestLimitExceeded",
        format!(
            "Your current request times equals to `{}` in one second, which exceeds the frequency limit `{RATE}` for a second. Please reduce the frequency of calls.",
            RATE + 1
        ),
    )
}
