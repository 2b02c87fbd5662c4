//! One call of Tencent Cloud's API 3.0: signs and sends the request, opens the answer's envelope and classifies
//! errors.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::Url;

use crate::account::AccountId;
use crate::cdn::credentials::Credentials;
use crate::cdn::errors::TENCENT;
use crate::cdn::history::around;
use crate::cdn::matching::AnyId;
use crate::cdn::request::{Answer, RequestContext, host, sensitive};
use crate::cdn::server_clock::ServerClock;
use crate::cdn::sign::{tc3, v1};
use crate::cdn::{Batch, CdnError, ErrorClass};
use crate::clock::ClockSkew;
use crate::http::Outbound;
use crate::purge::{TaskId, TaskIds};
use crate::settings::Section;

/// The code for a timestamp more than five minutes off.
const CLOCK_IS_OFF: &str = "AuthFailure.SignatureExpire";

/// How far a signature's time may be off ("Common errors", `AuthFailure.SignatureExpire`).
const SIGNATURES_HOLD: SignedDuration = SignedDuration::from_mins(5);

/// A product of Tencent Cloud.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Its name for people.
    pub name: &'static str,
    /// Its name in a signature's scope.
    pub service: &'static str,
    /// X-TC-Version.
    pub version: &'static str,
    /// Codes that have another meaning for this product: the product is gone.
    pub gone: &'static [&'static str],
}

/// How requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// TC3-HMAC-SHA256 over JSON, which Tencent recommends.
    Tc3,
    /// The older method over a form, with the hash it uses.
    V1(v1::Method),
}

impl Signature {
    /// Reads `signature`: `tc3` (the default), `hmac-sha1` or `hmac-sha256`.
    pub fn read(section: &mut Section) -> Self {
        let word = section.word("signature", &["tc3", "hmac-sha1", "hmac-sha256"]);
        match word.as_ref().map(|word| word.value.as_str()) {
            Some("hmac-sha1") => Self::V1(v1::Method::HmacSha1),
            Some("hmac-sha256") => Self::V1(v1::Method::HmacSha256),
            Some(_) | None => Self::Tc3,
        }
    }
}

/// A client for one product.
pub struct Client {
    product: Product,
    endpoint: Url,
    credentials: Credentials,
    signature: Signature,
    outbound: Outbound,
    clock: ServerClock,
}

/// The answer to an action, with the server's clock.
pub struct Answered<T> {
    /// The answer.
    pub response: T,
    /// How far the server's clock is ahead of ours, as precisely as its Date header shows.
    pub ahead: SignedDuration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    response: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Accepted {
    task_id: AnyId,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    error: ErrorBody,
    #[serde(default)]
    request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Client {
    /// A client for a product at an endpoint, whose path is always `/`.
    pub fn new(
        product: Product,
        mut endpoint: Url,
        credentials: Credentials,
        signature: Signature,
        outbound: Outbound,
    ) -> Self {
        endpoint.set_path("/");
        Self {
            product,
            endpoint,
            credentials,
            signature,
            clock: ServerClock::new(outbound.clock.clone()),
            outbound,
        }
    }

    /// The account's name: the kind of CDN, the API's host and a fingerprint of the secret's id.
    pub fn account(&self, kind: &str) -> AccountId {
        let fingerprint = self.credentials.fingerprint();
        AccountId::new(format!("{kind} {}/{fingerprint}", host(&self.endpoint)))
    }

    /// How far the server's clock differed from ours at its last answer.
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        self.clock.skew(SIGNATURES_HOLD)
    }

    /// The period from shortly before one time to shortly after another, by the server's clock.
    pub fn around(&self, first: Timestamp, last: Timestamp) -> (Timestamp, Timestamp) {
        around(self.clock.there(first), self.clock.there(last))
    }

    /// Submits a batch with an action and returns the id of its task.
    pub async fn submit(
        &self,
        action: &str,
        batch: &Batch,
        parameters: &Value,
    ) -> Result<Option<TaskIds>, CdnError> {
        let of = batch.counted();
        let accepted: Answered<Accepted> = self.call(action, &of, parameters).await?;
        match accepted.response.task_id.task() {
            Some(id) => Ok(Some(TaskId::Vendor(id.to_owned()).into())),
            None => {
                let context = self.context(action, &of);
                Err(context.malformed(StatusCode::OK, "its TaskId is no id"))
            }
        }
    }

    /// The error for a batch of a kind that the product does not support.
    pub fn impossible(&self, what: &str) -> CdnError {
        self.context(what, "").impossible()
    }

    /// Calls an action; `of` names its object in messages ("12 URLs"; may be empty). Parameters that are null are
    /// not sent.
    ///
    /// If the server refuses a timestamp as expired, it is corrected by the Date header and tried once more.
    pub async fn call<T: DeserializeOwned>(
        &self,
        action: &str,
        of: &str,
        parameters: &Value,
    ) -> Result<Answered<T>, CdnError> {
        let mut context = self.context(action, of);
        let answer = self.send(&mut context, action, parameters).await?;
        match self.open(&context, &answer) {
            Err(error)
                if error.vendor_code() == Some(CLOCK_IS_OFF) && self.clock.correct(&answer) =>
            {
                let answer = self.send(&mut context, action, parameters).await?;
                self.open(&context, &answer)
            }
            opened => opened,
        }
    }

    fn context(&self, action: &str, of: &str) -> RequestContext {
        let what = match of {
            "" => action.to_owned(),
            of => format!("{action} ({of})"),
        };
        RequestContext {
            cdn: self.product.name,
            what,
            redactor: self.outbound.redactor.clone(),
        }
    }

    async fn send(
        &self,
        context: &mut RequestContext,
        action: &str,
        parameters: &Value,
    ) -> Result<Answer, CdnError> {
        let request = match self.signature {
            Signature::Tc3 => self.as_json(action, parameters),
            Signature::V1(method) => self.as_form(context, method, action, parameters),
        };
        let answer = context.send(request).await?;
        self.clock.note(&answer);
        Ok(answer)
    }

    /// A request with the common parameters in headers and the others as JSON.
    fn as_json(&self, action: &str, parameters: &Value) -> RequestBuilder {
        // Signed exactly as it is sent: a `charset` added by a JSON helper would break the signature.
        let content_type = "application/json";
        let said: Map<String, Value> = parameters
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let body = Value::Object(said).to_string();
        let host = host(&self.endpoint);
        let scope = tc3::Scope {
            service: self.product.service,
            time: self.clock.now(),
        };
        let authorization = tc3::authorization(
            self.credentials.id.expose_secret(),
            &self.credentials.key,
            &scope,
            &tc3::Request {
                method: "POST",
                query: "",
                headers: &[("content-type", content_type), ("host", &host)],
                payload: body.as_bytes(),
            },
        );
        let request = self
            .outbound
            .http
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, content_type)
            .header(AUTHORIZATION, sensitive(&authorization))
            .header("X-TC-Action", action)
            .header("X-TC-Version", self.product.version)
            .header("X-TC-Timestamp", scope.time.as_second())
            .header("X-TC-Language", "en-US")
            .body(body);
        match &self.credentials.token {
            Some(token) => request.header("X-TC-Token", sensitive(token.expose_secret())),
            None => request,
        }
    }

    /// A request with all parameters in a form. Never in a URL: URLs are logged on the way and limited to 32 KB.
    fn as_form(
        &self,
        context: &mut RequestContext,
        method: v1::Method,
        action: &str,
        parameters: &Value,
    ) -> RequestBuilder {
        let mut form = v1::flatten(parameters);
        let common = json!({
            "Action": action,
            "Version": self.product.version,
            "Timestamp": self.clock.now().as_second(),
            "Nonce": self.outbound.clock.nonce(),
            "SecretId": self.credentials.id.expose_secret(),
            "SignatureMethod": method.name(),
            "Language": "en-US",
            "Token": self.credentials.token.as_ref().map(ExposeSecret::expose_secret),
        });
        form.append(&mut v1::flatten(&common));
        let to_sign = v1::string_to_sign("POST", &host(&self.endpoint), "/", &form);
        let signature = v1::signature(&self.credentials.key, method, &to_sign);
        context.redactor = context.redactor.and([signature.as_str()]);
        form.insert("Signature".to_owned(), signature);
        self.outbound
            .http
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(v1::form(&form))
    }

    /// Opens the envelope. Errors have HTTP status 200 as successes do, so the body is checked first.
    fn open<T: DeserializeOwned>(
        &self,
        context: &RequestContext,
        answer: &Answer,
    ) -> Result<Answered<T>, CdnError> {
        let body = serde_json::from_slice::<Envelope>(&answer.body).map(|it| it.response);
        let response = match body {
            Ok(response) => response,
            Err(why) if answer.status.is_success() => {
                return Err(context.malformed(answer.status, &why.to_string()));
            }
            Err(_) => return Err(context.bare_status(answer)),
        };
        if let Ok(Refusal { error, request_id }) = Refusal::deserialize(&response) {
            let class = if self.product.gone.contains(&error.code.as_str()) {
                ErrorClass::Migrated
            } else {
                TENCENT.class(&error.code)
            };
            let says = error.message.unwrap_or_default();
            let id = request_id.unwrap_or_default();
            let mut refused = context.refused(class, &error.code, &says, &id);
            refused.retry_after = answer.retry_after;
            return Err(refused);
        }
        if !answer.status.is_success() {
            return Err(context.bare_status(answer));
        }
        match T::deserialize(response) {
            Ok(response) => Ok(Answered {
                response,
                ahead: self.clock.ahead(answer),
            }),
            Err(why) => Err(context.malformed(answer.status, &why.to_string())),
        }
    }
}
