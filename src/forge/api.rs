//! A forge's REST API: addresses under the configured base, one bounded request,
//! and what an answer's status means for the caller.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::ForgeError;
use crate::http::{AnswerError, Outside, read_answer};

/// How long to wait when a forge says "too fast" but not for how long.
/// GitHub asks for at least a minute ("Rate limits for the REST API").
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that is believed; a reset further away than a day is a mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The most characters of a forge's own words that go into a message.
const LONGEST_QUOTE: usize = 300;

/// One forge's API under its configured address.
pub(super) struct Api {
    /// How the forge is called in messages.
    forge: &'static str,
    base: Url,
    outside: Outside,
}

/// The headers in which a forge says how long to wait.
pub(super) struct RateHeaders {
    /// How many requests are left.
    pub remaining: HeaderName,
    /// When there will be more, in epoch seconds.
    pub reset: HeaderName,
}

impl Api {
    pub fn new(forge: &'static str, base: Url, outside: &Outside) -> Self {
        Self {
            forge,
            base,
            outside: outside.clone(),
        }
    }

    /// A request to an address made of path segments, each percent-encoded: a
    /// `/` inside a segment becomes `%2F`. Nothing but the base decides the host.
    pub fn request(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        let mut address = self.base.clone();
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        self.outside.http.request(method, address)
    }

    /// Sends a request and reads the whole answer. `what` says what it is for, e.g. "compare 1a2b with 3c4d".
    pub async fn send(&self, request: RequestBuilder, what: &str) -> Result<Answer, ForgeError> {
        let broken = |error: reqwest::Error| ForgeError::Later {
            message: format!(
                "{} did not answer when asked to {what}: {}",
                self.forge,
                causes(&error.without_url())
            ),
            retry_after: None,
        };
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = match read_answer(response).await {
            Ok(body) => Some(body),
            Err(AnswerError::TooLong) => None,
            Err(AnswerError::BrokeOff(error)) => return Err(broken(error)),
        };
        Ok(Answer {
            forge: self.forge,
            what: what.to_owned(),
            status,
            headers,
            body,
        })
    }

    /// The present moment.
    pub fn timestamp(&self) -> Timestamp {
        self.outside.clock.now()
    }

    /// The present moment in epoch seconds.
    pub fn now(&self) -> i64 {
        self.timestamp().as_second()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    forge: &'static str,
    what: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// None when it was longer than [`crate::http::MAX_ANSWER`].
    body: Option<Vec<u8>>,
}

impl Answer {
    /// Whether the body was too long to be read.
    pub fn is_too_long(&self) -> bool {
        self.body.is_none()
    }

    /// The body as JSON. Anything else is an answer that broke on its way: try again.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        let body = self.body.as_deref().unwrap_or_default();
        serde_json::from_slice(body).map_err(|error| ForgeError::Later {
            message: one_line(&format!(
                "{} gave an answer that makes no sense when asked to {}: {error}",
                self.forge, self.what
            )),
            retry_after: None,
        })
    }

    /// "GitHub answered 404 Not Found when asked to compare ..: its words".
    pub fn sentence(&self) -> String {
        let mut text = format!(
            "{} answered {} when asked to {}",
            self.forge, self.status, self.what
        );
        let words = self.words();
        if !words.is_empty() {
            let _ = write!(text, ": {words}");
        }
        text
    }

    /// What the forge says in an error's body, on one line and of bounded length.
    pub fn words(&self) -> String {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            message: serde_json::Value,
            #[serde(default)]
            error: serde_json::Value,
            #[serde(default)]
            errors: serde_json::Value,
            #[serde(default)]
            error_description: serde_json::Value,
        }
        let body = self.body.as_deref().unwrap_or_default();
        match serde_json::from_slice::<Said>(body) {
            Ok(Said {
                message,
                error,
                errors,
                error_description,
            }) => {
                let mut parts = Vec::new();
                for value in [message, error, errors, error_description] {
                    said("", &value, &mut parts);
                }
                one_line(&parts.join("; "))
            }
            // GitLab's rate limiter answers in plain text; pages of HTML help nobody.
            Err(_) => match std::str::from_utf8(body) {
                Ok(text) if !text.trim_start().starts_with('<') => one_line(text.trim()),
                Ok(_) | Err(_) => String::new(),
            },
        }
    }

    /// How long the forge asks to be left alone, from `Retry-After` or the moment its limit resets.
    pub fn wait(&self, now: i64, rate: &RateHeaders) -> Option<Duration> {
        let number = |name: &HeaderName| number(self.headers.get(name));
        let seconds = match number(&reqwest::header::RETRY_AFTER) {
            Some(seconds) => seconds,
            None if self.is_out_of_requests(rate) => {
                let reset = i64::try_from(number(&rate.reset)?).ok()?;
                u64::try_from(reset.saturating_sub(now)).unwrap_or(0).max(1)
            }
            None => return None,
        };
        Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
    }

    /// Whether the forge says that no requests are left.
    pub fn is_out_of_requests(&self, rate: &RateHeaders) -> bool {
        number(self.headers.get(&rate.remaining)) == Some(0)
    }

    /// "Too fast", with the wait the forge asks for or a minute.
    pub fn too_fast(&self, now: i64, rate: &RateHeaders) -> ForgeError {
        ForgeError::Later {
            message: format!("rate limit: {}", self.sentence()),
            retry_after: Some(self.wait(now, rate).unwrap_or(DEFAULT_WAIT)),
        }
    }

    /// What a status means on every forge; each forge looks at its own peculiarities first.
    pub fn error(&self, now: i64, rate: &RateHeaders) -> ForgeError {
        let status = self.status.as_u16();
        match status {
            300..=399 => ForgeError::Refused(format!(
                "{}; the repository was moved or renamed: update `repo:`, or `api_url:` if the whole forge moved",
                self.sentence()
            )),
            401 => ForgeError::Refused(format!(
                "{}; check that the forge's token is right and has not expired",
                self.sentence()
            )),
            404 | 410 => ForgeError::Gone(format!(
                "{}; it is not there, or the token may not see it",
                self.sentence()
            )),
            429 => self.too_fast(now, rate),
            408 | 409 | 425 | 500..=599 => ForgeError::Later {
                message: self.sentence(),
                retry_after: self.wait(now, rate),
            },
            _ => ForgeError::Refused(self.sentence()),
        }
    }
}

/// A header that holds a whole number.
fn number(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// Collects the texts in an error's value, whatever its shape: GitHub's `errors`
/// is a list of objects or one string, GitLab's `message` a string or lists by field.
fn said(field: &str, value: &serde_json::Value, parts: &mut Vec<String>) {
    use serde_json::Value;
    match value {
        Value::Null => {}
        Value::String(text) if field.is_empty() => parts.push(text.clone()),
        Value::String(text) => parts.push(format!("{field}: {text}")),
        Value::Bool(_) | Value::Number(_) => parts.push(value.to_string()),
        Value::Array(values) => values.iter().for_each(|v| said(field, v, parts)),
        Value::Object(fields) => fields.iter().for_each(|(name, v)| said(name, v, parts)),
    }
}

/// An error with its causes: reqwest's own words stop at "error sending request".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    one_line(&text)
}

/// Someone else's words, fit for a log line: no control characters, not too long.
pub(super) fn one_line(text: &str) -> String {
    let clean: String = text
        .chars()
        .take(LONGEST_QUOTE + 1)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    super::cut(&clean, LONGEST_QUOTE)
}
