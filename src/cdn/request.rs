//! Sends one request to a CDN's API; returns its raw answer, or the meaning of having none.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use url::Url;

use super::{CdnError, ErrorClass, FailureKind};
use crate::cause::Cause;
use crate::http::{self, AnswerError, execute, read_answer, unresolved, why};
use crate::redact::Redactor;

/// The longest wait that a CDN can ask for: one request every quarter of an hour does no harm, and waiting runs
/// have a deadline.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// The CDN and the action, for messages: "Tencent CDN", "`PurgeUrlsCache` (12 URLs)".
#[derive(Clone)]
pub struct RequestContext {
    /// The CDN's name for people.
    pub cdn: &'static str,
    /// The action and the number of targets.
    pub what: String,
    /// The redactor for quotes from the answer.
    pub redactor: Redactor,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The server's time, from its Date header.
    pub date: Option<Timestamp>,
    /// How long to wait: the time in Retry-After, up to [`LONGEST_WAIT`].
    pub retry_after: Option<Duration>,
    /// The API's id of the request, if it returns one in a header (`X-Request-Id`).
    pub request_id: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl RequestContext {
    /// Sends a request and reads its complete answer, whatever its status. From then on, quotes omit the request's
    /// signature and credentials.
    pub async fn send(&mut self, request: reqwest::RequestBuilder) -> Result<Answer, CdnError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| self.transport_error(error))?;
        self.redactor = self.redactor.after(request.headers());
        let response = execute(&client, request)
            .await
            .map_err(|error| self.transport_error(error))?;
        let status = response.status();
        let date = http::date(response.headers());
        let retry_after = http::retry_after(response.headers()).map(|wait| wait.min(LONGEST_WAIT));
        let request_id =
            header(response.headers(), HeaderName::from_static("x-request-id")).map(str::to_owned);
        let body = read_answer(response).await.map_err(|error| match error {
            AnswerError::BrokeOff(error) => self.transport_error(error),
            AnswerError::TooLong => self.malformed(status, "it is too long"),
        })?;
        Ok(Answer {
            status,
            date,
            retry_after,
            request_id,
            body,
        })
    }

    /// The CDN answered with an API error: it did nothing.
    pub fn refused(&self, class: ErrorClass, code: &str, says: &str, request_id: &str) -> CdnError {
        let code = self.redactor.quote(code);
        let mut message = format!("{} refused {}: {code}", self.cdn, self.what);
        if !says.is_empty() {
            message.push_str(": ");
            message.push_str(&self.redactor.quote(says));
        }
        if !request_id.is_empty() {
            let request_id = self.redactor.quote(request_id);
            message.push_str(&format!(" (request id {request_id})"));
        }
        CdnError {
            class,
            kind: FailureKind::Vendor(code),
            message,
            retry_after: None,
            maybe_done: false,
            cause: Cause::NONE,
        }
    }

    /// An answer with only an HTTP status and no API error: from a gateway on the way, or a failing server.
    pub fn bare_status(&self, answer: &Answer) -> CdnError {
        let class = match answer.status {
            StatusCode::TOO_MANY_REQUESTS => ErrorClass::RateLimited,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorClass::Split,
            status if status.is_redirection() => ErrorClass::Operator,
            _ => ErrorClass::Retry,
        };
        let advice = match answer.status.is_redirection() {
            true => ": requests are never sent on to another address; check `endpoint:`",
            false => "",
        };
        CdnError {
            class,
            kind: FailureKind::HttpStatus(answer.status.as_u16()),
            message: format!(
                "{} answered {} with HTTP status {}{advice}",
                self.cdn, self.what, answer.status
            ),
            retry_after: answer.retry_after,
            // A 3xx or 4xx was sent before any work; a 5xx may come from a gateway that timed out.
            maybe_done: !(answer.status.is_client_error() || answer.status.is_redirection())
                || answer.status == StatusCode::REQUEST_TIMEOUT,
            cause: Cause::NONE,
        }
    }

    /// The answer does not have the documented form, so the result is unknown.
    pub fn malformed(&self, status: StatusCode, why: &str) -> CdnError {
        CdnError {
            class: ErrorClass::Retry,
            kind: FailureKind::MalformedAnswer,
            message: format!(
                "{} answered {} with something that is not as documented: {} (HTTP status {status})",
                self.cdn,
                self.what,
                self.redactor.quote(why)
            ),
            retry_after: None,
            maybe_done: true,
            cause: Cause::NONE,
        }
    }

    /// A call that this CDN does not support: a mistake of the program or its configuration.
    pub fn impossible(&self) -> CdnError {
        CdnError {
            class: ErrorClass::Operator,
            kind: FailureKind::Unsupported,
            message: format!("{} has no way to {}", self.cdn, self.what),
            retry_after: None,
            maybe_done: false,
            cause: Cause::NONE,
        }
    }

    fn transport_error(&self, error: reqwest::Error) -> CdnError {
        let kind = if error.is_timeout() {
            FailureKind::Timeout
        } else {
            FailureKind::Connection
        };
        // Without a connection, or without a valid request, nothing was sent.
        let sent = !error.is_connect() && !error.is_builder();
        let outcome = if sent {
            "did not answer"
        } else {
            "could not be reached for"
        };
        let is_unresolved = unresolved(&error).is_some();
        let (words, cause) = why(error);
        let words = self.redactor.quote(&words);
        let message = if is_unresolved {
            // The name comes first: a commit's status is limited to 140 characters.
            format!("{words}, so {} {outcome} {}", self.cdn, self.what)
        } else {
            format!("{} {outcome} {}: {words}", self.cdn, self.what)
        };
        CdnError {
            class: ErrorClass::Retry,
            kind,
            message,
            retry_after: None,
            maybe_done: sent,
            cause,
        }
    }
}

/// The Host header as it is sent and signed: with the port, unless it is the scheme's default.
pub fn host(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    match endpoint.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A header value that debug output omits. Invalid header values are sent as empty, and refused.
pub fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
