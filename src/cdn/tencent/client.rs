//! One call of Tencent Cloud's API 3.0: signed, sent, its envelope opened, its errors understood.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::Credentials;
use crate::cdn::CdnError;
use crate::cdn::errors::TENCENT;
use crate::cdn::exchange::{Answer, Asking};
use crate::cdn::sign::tc3;
use crate::http::Outside;

/// The code for a timestamp more than five minutes off.
const CLOCK_IS_OFF: &str = "AuthFailure.SignatureExpire";

/// A product of Tencent Cloud, as its API names it.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// As people call it.
    pub name: &'static str,
    /// As a signature's scope calls it.
    pub service: &'static str,
    /// X-TC-Version.
    pub version: &'static str,
}

/// A signed connection to one product.
pub struct Client {
    product: Product,
    endpoint: Url,
    credentials: Credentials,
    outside: Outside,
    /// Seconds that the server's clock was ahead when it refused our timestamp.
    ahead: AtomicI64,
}

/// What an action answered, and when by the server's clock.
pub struct Answered<T> {
    /// The answer.
    pub response: T,
    /// How far the server's clock is ahead of ours, as well as its Date header tells.
    pub ahead: SignedDuration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    response: Value,
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
        outside: Outside,
    ) -> Self {
        endpoint.set_path("/");
        Self {
            product,
            endpoint,
            credentials,
            outside,
            ahead: AtomicI64::new(0),
        }
    }

    /// Names the account: the API's host and a fingerprint of the secret's id.
    pub fn account(&self) -> String {
        format!("{}/{}", self.host(), self.credentials.fingerprint())
    }

    /// Calls an action; `of` says of what, for messages ("12 URLs"; may be empty).
    ///
    /// A timestamp that the server finds expired is corrected by its Date header and tried once more.
    pub async fn call<T: DeserializeOwned>(
        &self,
        action: &str,
        of: &str,
        parameters: &Value,
    ) -> Result<Answered<T>, CdnError> {
        let asking = self.asking(action, of);
        let sent_at = self.outside.clock.now();
        let answer = self.send(&asking, action, parameters).await?;
        match self.open(&asking, &answer, sent_at) {
            Err(error) if error.code == CLOCK_IS_OFF => {
                let Some(date) = answer.date else {
                    return Err(error);
                };
                let now = self.outside.clock.now();
                self.ahead
                    .store(date.duration_since(now).as_secs(), Ordering::Relaxed);
                let answer = self.send(&asking, action, parameters).await?;
                self.open(&asking, &answer, now)
            }
            opened => opened,
        }
    }

    fn asking(&self, action: &str, of: &str) -> Asking {
        let what = match of {
            "" => action.to_owned(),
            of => format!("{action} ({of})"),
        };
        Asking {
            cdn: self.product.name,
            what,
        }
    }

    /// The Host header as it is sent and signed, with any port that is not the scheme's own.
    fn host(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        match self.endpoint.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Our time, corrected by what the server said of it.
    fn server_time(&self) -> Timestamp {
        let now = self.outside.clock.now();
        let ahead = SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        now.saturating_add(ahead).unwrap_or(now)
    }

    async fn send(
        &self,
        asking: &Asking,
        action: &str,
        parameters: &Value,
    ) -> Result<Answer, CdnError> {
        // Signed as it is sent: any `charset` that a JSON helper might add would break the signature.
        let content_type = "application/json";
        let body = parameters.to_string();
        let host = self.host();
        let scope = tc3::Scope {
            service: self.product.service,
            time: self.server_time(),
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
        let mut request = self
            .outside
            .http
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, content_type)
            .header(AUTHORIZATION, sensitive(&authorization))
            .header("X-TC-Action", action)
            .header("X-TC-Version", self.product.version)
            .header("X-TC-Timestamp", scope.time.as_second())
            .header("X-TC-Language", "en-US")
            .body(body);
        if let Some(token) = &self.credentials.token {
            request = request.header("X-TC-Token", sensitive(token.expose_secret()));
        }
        asking.send(request).await
    }

    /// Opens the envelope. Errors come with HTTP status 200 as successes do, so the body goes first.
    fn open<T: DeserializeOwned>(
        &self,
        asking: &Asking,
        answer: &Answer,
        sent_at: Timestamp,
    ) -> Result<Answered<T>, CdnError> {
        let body = serde_json::from_slice::<Envelope>(&answer.body).map(|it| it.response);
        let response = match body {
            Ok(response) => response,
            Err(why) if answer.status.is_success() => {
                return Err(asking.senseless(answer.status, &why.to_string()));
            }
            Err(_) => return Err(asking.bare_status(answer)),
        };
        if let Ok(Refusal { error, request_id }) = Refusal::deserialize(&response) {
            let class = TENCENT.class(&error.code);
            let says = error.message.unwrap_or_default();
            let id = request_id.unwrap_or_default();
            let mut refused = asking.refused(class, &error.code, &says, &id);
            refused.retry_after = answer.retry_after;
            return Err(refused);
        }
        if !answer.status.is_success() {
            return Err(asking.bare_status(answer));
        }
        match T::deserialize(response) {
            Ok(response) => Ok(Answered {
                response,
                ahead: self.ahead_of_us(answer, sent_at),
            }),
            Err(why) => Err(asking.senseless(answer.status, &why.to_string())),
        }
    }

    /// How far the server's clock is ahead. A Date header further off than a signature may be is not the API's own.
    fn ahead_of_us(&self, answer: &Answer, sent_at: Timestamp) -> SignedDuration {
        let told = answer.date.map(|date| date.duration_since(sent_at));
        match told {
            Some(ahead) if ahead.abs() < SignedDuration::from_mins(5) => ahead,
            Some(_) | None => SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed)),
        }
    }
}

/// A header value that debug output leaves out. What cannot be a header value is sent as nothing, and refused.
fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
