//! One call of Huawei Cloud's CDN API: signs and sends the request, and parses errors in all of their formats.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::account::AccountId;
use crate::cdn::credentials::Credentials;
use crate::cdn::errors::HUAWEI;
use crate::cdn::history::around;
use crate::cdn::request::{Answer, RequestContext, host, sensitive};
use crate::cdn::server_clock::ServerClock;
use crate::cdn::sign::huawei;
use crate::cdn::{CdnError, ErrorClass};
use crate::clock::ClockSkew;
use crate::http::Outbound;

/// How far a signature's time may be off. Common for Huawei's gateway; the CDN's pages specify no number.
const SIGNATURES_HOLD: SignedDuration = SignedDuration::from_mins(15);

/// How requests are authenticated.
pub enum Auth {
    /// An access key, with a security token if it is temporary.
    Keys(Credentials),
    /// An IAM token that the operator provides (and renews: it lasts a day).
    Token(SecretString),
}

/// An authenticated connection to the CDN API.
pub struct Client {
    endpoint: Url,
    auth: Auth,
    outbound: Outbound,
    clock: ServerClock,
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name in messages: "refresh-tasks (12 URLs)".
    pub what: String,
    /// The path.
    pub path: String,
    /// The query's parameters, unencoded.
    pub query: Vec<(String, String)>,
    /// The body of a POST request; none for GET.
    pub body: Option<Value>,
}

/// The answer to a call, with the server's clock.
#[derive(Debug)]
pub struct Answered {
    /// The answer, which is no error.
    pub body: Value,
    /// How far the server's clock is ahead of ours.
    pub ahead: SignedDuration,
    /// The HTTP status, in case the answer is malformed.
    pub status: StatusCode,
}

/// An error's fields, under all of their names.
#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default, alias = "errorCode", alias = "code")]
    error_code: Option<String>,
    #[serde(
        default,
        alias = "errorMsg",
        alias = "error_message",
        alias = "message"
    )]
    error_msg: Option<String>,
}

impl Client {
    /// A client for an endpoint such as `https://cdn.myhuaweicloud.com`.
    pub fn new(endpoint: Url, auth: Auth, outbound: Outbound) -> Self {
        Self {
            endpoint,
            auth,
            clock: ServerClock::new(outbound.clock.clone()),
            outbound,
        }
    }

    /// The account's name: the kind of CDN, the API's host and a fingerprint of the access key. A token identifies
    /// no account, and changes daily.
    pub fn account(&self, kind: &str) -> AccountId {
        let host = host(&self.endpoint);
        AccountId::new(match &self.auth {
            Auth::Keys(keys) => format!("{kind} {host}/{}", keys.fingerprint()),
            Auth::Token(_) => format!("{kind} {host}/token"),
        })
    }

    /// How far the server's clock differed from ours at its last answer. None with an IAM token, which does not
    /// depend on the time.
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        match &self.auth {
            Auth::Keys(_) => self.clock.skew(SIGNATURES_HOLD),
            Auth::Token(_) => None,
        }
    }

    /// The period from shortly before one time to shortly after another, by the server's clock.
    pub fn around(&self, first: Timestamp, last: Timestamp) -> (Timestamp, Timestamp) {
        around(self.clock.there(first), self.clock.there(last))
    }

    /// Sends a call. A signature is retried only if its time was refused, and only once with the server's clock:
    /// more than five wrong signatures in a row lock the access key.
    pub async fn call(&self, call: &Call) -> Result<Answered, CdnError> {
        let mut context = self.context(call);
        let answer = self.send(&mut context, call).await?;
        match self.open(&context, &answer) {
            Err(error) if is_expired(&error) && self.clock.correct(&answer) => {
                let answer = self.send(&mut context, call).await?;
                self.open(&context, &answer)
            }
            opened => opened,
        }
    }

    /// The error for an answer that does not have the documented form.
    pub fn malformed(&self, call: &Call, answered: &Answered, why: &str) -> CdnError {
        self.context(call).malformed(answered.status, why)
    }

    fn context(&self, call: &Call) -> RequestContext {
        RequestContext {
            cdn: "Huawei CDN",
            what: call.what.clone(),
            redactor: self.outbound.redactor.clone(),
        }
    }

    async fn send(&self, context: &mut RequestContext, call: &Call) -> Result<Answer, CdnError> {
        let content_type = "application/json";
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let method = match call.body {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let mut url = self.endpoint.clone();
        url.set_path(&call.path);
        if !call.query.is_empty() {
            url.set_query(Some(&huawei::canonical_query(&call.query)));
        }
        let host = host(&url);
        let date = huawei::sdk_date(self.clock.now());
        let request = self
            .outbound
            .http
            .request(method.clone(), url.clone())
            .header(CONTENT_TYPE, content_type);
        let request = match &self.auth {
            Auth::Token(token) => request.header("X-Auth-Token", sensitive(token.expose_secret())),
            Auth::Keys(keys) => {
                let mut headers = vec![
                    ("content-type", content_type),
                    ("host", host.as_str()),
                    ("x-sdk-date", date.as_str()),
                ];
                let token = keys.token.as_ref().map(ExposeSecret::expose_secret);
                headers.extend(token.map(|token| ("x-security-token", token)));
                let authorization = huawei::authorization(
                    keys.id.expose_secret(),
                    &keys.key,
                    &date,
                    &huawei::Request {
                        method: method.as_str(),
                        path: url.path(),
                        query: &call.query,
                        headers: &headers,
                        payload_hash: &huawei::payload_hash(body.as_bytes()),
                    },
                );
                let signed = request
                    .header("X-Sdk-Date", &date)
                    .header(AUTHORIZATION, sensitive(&authorization));
                match token {
                    Some(token) => signed.header("X-Security-Token", sensitive(token)),
                    None => signed,
                }
            }
        };
        let answer = context.send(request.body(body)).await?;
        self.clock.note(&answer);
        Ok(answer)
    }

    /// Distinguishes errors from answers. Many errors of the CDN have HTTP status 200, so the body is checked
    /// first.
    fn open(&self, context: &RequestContext, answer: &Answer) -> Result<Answered, CdnError> {
        let body = match serde_json::from_slice::<Value>(&answer.body) {
            Ok(body) => body,
            Err(why) if answer.status.is_success() => {
                return Err(context.malformed(answer.status, &why.to_string()));
            }
            Err(_) => return Err(context.bare_status(answer)),
        };
        if let Some((code, says)) = error_in(&body) {
            let request_id = answer.request_id.as_deref().unwrap_or_default();
            let class = class(&code, answer.status);
            let mut refused = context.refused(class, &code, &says, request_id);
            refused.retry_after = answer.retry_after;
            // The gateway's own 5xx means that the service behind it did not answer in time.
            refused.maybe_done = code.starts_with("APIG") && answer.status.is_server_error();
            return Err(refused);
        }
        if !answer.status.is_success() {
            return Err(context.bare_status(answer));
        }
        Ok(Answered {
            body,
            ahead: self.clock.ahead(answer),
            status: answer.status,
        })
    }
}

/// An error's code and message, flat or nested under `error`, under any of their names.
fn error_in(body: &Value) -> Option<(String, String)> {
    let error = body.get("error").unwrap_or(body);
    let found = ErrorBody::deserialize(error).unwrap_or_default();
    let code = found.error_code.filter(|code| !code.is_empty())?;
    Some((code, found.error_msg.unwrap_or_default()))
}

fn class(code: &str, status: StatusCode) -> ErrorClass {
    // The gateway uses both spellings of its codes, depending on the region.
    let code = match code.strip_prefix("APIG.") {
        Some(number) => format!("APIGW.{number}"),
        None => code.to_owned(),
    };
    match (code.as_str(), status) {
        // The gateway uses "request error" for several problems, which the status distinguishes.
        ("APIGW.0201", StatusCode::PAYLOAD_TOO_LARGE) => ErrorClass::Split,
        ("APIGW.0201", StatusCode::BAD_REQUEST) => ErrorClass::Operator,
        (code, status) => HUAWEI.listed(code).unwrap_or(match status {
            StatusCode::TOO_MANY_REQUESTS => ErrorClass::RateLimited,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorClass::Split,
            status if status.is_server_error() => ErrorClass::Retry,
            _ => ErrorClass::Operator,
        }),
    }
}

/// Whether the gateway rejects the signature, under either spelling of its codes.
pub(super) fn is_wrong_signature(error: &CdnError) -> bool {
    let code = error.vendor_code();
    code.is_some_and(|code| code.ends_with(".0301"))
}

fn is_expired(error: &CdnError) -> bool {
    is_wrong_signature(error) && error.message.to_lowercase().contains("expired")
}
