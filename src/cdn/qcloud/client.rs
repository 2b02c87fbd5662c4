//! One call of API 2.0: signs the request, sends it as a form, and opens the answer's inconsistent envelope.

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::account::AccountId;
use crate::cdn::credentials::Credentials;
use crate::cdn::errors::QCLOUD;
use crate::cdn::history::around;
use crate::cdn::matching::AnyId;
use crate::cdn::request::{Answer, RequestContext, host};
use crate::cdn::server_clock::ServerClock;
use crate::cdn::sign::v1;
use crate::cdn::{Batch, CdnError, ErrorClass};
use crate::clock::ClockSkew;
use crate::http::Outbound;

/// The signature's time is too far from the server's.
const CLOCK_IS_OFF: &str = "4200";
/// How far a request's time may be off ("Signature method", API 2.0).
const SIGNATURES_HOLD: SignedDuration = SignedDuration::from_hours(2);
/// The nonce was used before.
const SENT_BEFORE: &str = "4500";
/// The path of every call.
const PATH: &str = "/v2/index.php";

/// A client for API 2.0.
pub struct Client {
    endpoint: Url,
    credentials: Credentials,
    method: v1::Method,
    outbound: Outbound,
    clock: ServerClock,
}

/// The answer to an action, with the server's clock.
pub struct Answered {
    /// `data`; PHP's empty array if there is none.
    pub data: Value,
    /// How far the server's clock is ahead of ours.
    pub ahead: SignedDuration,
}

/// Some numbers are sent as text, so all of them are read as either.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    code: AnyId,
    #[serde(default)]
    message: Option<String>,
    /// `Success`, or the module's own code as text or as a number.
    #[serde(default)]
    code_desc: Option<AnyId>,
    #[serde(default)]
    data: Value,
}

impl Envelope {
    /// The module's own code, which is more specific than the common one.
    fn module_code(&self) -> Option<String> {
        let is_number = |text: &str| text.parse::<i64>().is_ok();
        let described = self.code_desc.as_ref().map(|it| it.0.trim().to_owned());
        let in_message = || {
            let (code, _) = self
                .message
                .as_deref()?
                .strip_prefix('(')?
                .split_once(')')?;
            Some(code.to_owned())
        };
        described
            .filter(|code| is_number(code))
            .or_else(|| in_message().filter(|code| is_number(code)))
    }
}

impl Client {
    /// A client for an endpoint such as `https://cdn.api.qcloud.com`. If the endpoint has no path, that of API 2.0
    /// is used.
    pub fn new(
        mut endpoint: Url,
        credentials: Credentials,
        method: v1::Method,
        outbound: Outbound,
    ) -> Self {
        if endpoint.path() == "/" {
            endpoint.set_path(PATH);
        }
        Self {
            endpoint,
            credentials,
            method,
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

    /// Submits a batch.
    pub async fn submit(
        &self,
        action: &str,
        batch: &Batch,
        parameters: &Value,
    ) -> Result<Value, CdnError> {
        let of = format!(" ({})", batch.counted());
        Ok(self.call(action, &of, parameters).await?.data)
    }

    /// Sends a query.
    pub async fn ask(&self, action: &str, parameters: &Value) -> Result<Answered, CdnError> {
        self.call(action, "", parameters).await
    }

    /// Calls an action. If the server considers the request expired or repeated, it is sent once more with the
    /// server's time and a new nonce.
    async fn call(&self, action: &str, of: &str, parameters: &Value) -> Result<Answered, CdnError> {
        let mut context = RequestContext {
            cdn: "QCloud CDN",
            what: format!("{action}{of}"),
            redactor: self.outbound.redactor.clone(),
        };
        let answer = self.send(&mut context, action, parameters).await?;
        let again = match self.open(&context, &answer) {
            Err(error) if error.vendor_code() == Some(CLOCK_IS_OFF) => self.clock.correct(&answer),
            Err(error) if error.vendor_code() == Some(SENT_BEFORE) => {
                self.clock.correct(&answer);
                true
            }
            Ok(_) | Err(_) => false,
        };
        if again {
            let answer = self.send(&mut context, action, parameters).await?;
            return self.open(&context, &answer);
        }
        self.open(&context, &answer)
    }

    /// Always a POST: URLs, and so signatures in them, are logged on the way, and are limited to 32 KB.
    async fn send(
        &self,
        context: &mut RequestContext,
        action: &str,
        parameters: &Value,
    ) -> Result<Answer, CdnError> {
        let mut form = v1::flatten(parameters);
        let common = json!({
            "Action": action,
            "SecretId": self.credentials.id.expose_secret(),
            "Timestamp": self.clock.now().as_second(),
            "Nonce": self.outbound.clock.nonce(),
            "SignatureMethod": self.method.name(),
            "Token": self.credentials.token.as_ref().map(ExposeSecret::expose_secret),
        });
        form.append(&mut v1::flatten(&common));
        let to_sign =
            v1::string_to_sign("POST", &host(&self.endpoint), self.endpoint.path(), &form);
        let signature = v1::signature(&self.credentials.key, self.method, &to_sign);
        context.redactor = context.redactor.and([signature.as_str()]);
        form.insert("Signature".to_owned(), signature);
        let request = self
            .outbound
            .http
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(v1::form(&form));
        let answer = context.send(request).await?;
        self.clock.note(&answer);
        Ok(answer)
    }

    fn open(&self, context: &RequestContext, answer: &Answer) -> Result<Answered, CdnError> {
        if answer.status == StatusCode::NOT_IMPLEMENTED {
            // Documented for forms over 1 MB.
            return Err(CdnError {
                class: ErrorClass::Split,
                maybe_done: false,
                ..context.bare_status(answer)
            });
        }
        let envelope = match serde_json::from_slice::<Envelope>(&answer.body) {
            Ok(envelope) => envelope,
            Err(why) if answer.status.is_success() => {
                return Err(context.malformed(answer.status, &why.to_string()));
            }
            Err(_) => return Err(context.bare_status(answer)),
        };
        if envelope.code.0 != "0" {
            let module = envelope.module_code();
            let class = module
                .as_deref()
                .and_then(|code| QCLOUD.listed(code))
                .unwrap_or_else(|| QCLOUD.class(&envelope.code.0));
            let code = module.unwrap_or(envelope.code.0);
            let says = envelope.message.unwrap_or_default();
            return Err(context.refused(class, &code, &says, ""));
        }
        if !answer.status.is_success() {
            return Err(context.bare_status(answer));
        }
        Ok(Answered {
            data: envelope.data,
            ahead: self.clock.ahead(answer),
        })
    }
}
