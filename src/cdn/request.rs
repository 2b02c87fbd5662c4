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

/// The longest that a CDN is sent no requests because it asked for it: nobody minds a request every
/// quarter of an hour, and runs that wait for it have an end.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What is asked of whom, for messages: "Tencent CDN", "`PurgeUrlsCache` (12 URLs)".
#[derive(Clone)]
pub struct RequestContext {
    /// The CDN as people call it.
    pub cdn: &'static str,
    /// The action, and of how many targets.
    pub what: String,
    /// For what is quoted from the answer.
    pub redactor: Redactor,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The server's time, from its Date header.
    pub date: Option<Timestamp>,
    /// How long to leave the server alone: what it asked for in Retry-After, up to [`LONGEST_WAIT`].
    pub retry_after: Option<Duration>,
    /// The API's name for the request, where it gives one in a header (`X-Request-Id`).
    pub request_id: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl RequestContext {
    /// Sends a request and reads its answer to the end, whatever its status.
    /// From then on nothing is quoted that this request was signed with.
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

    /// The CDN answered with an error of its own: it did nothing.
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

    /// An answer by HTTP status alone, without an error of the API's in it: from a gateway on the way, or a server in trouble.
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
            // A 3xx and a 4xx come from before the work; a 5xx may come from a gateway that lost patience with it.
            maybe_done: !(answer.status.is_client_error() || answer.status.is_redirection())
                || answer.status == StatusCode::REQUEST_TIMEOUT,
            cause: Cause::NONE,
        }
    }

    /// The answer is not what the API promises, so nothing is known.
    pub fn malformed(&self, status: StatusCode, why: &str) -> CdnError {
        CdnError {
            class: ErrorClass::Retry,
            kind: FailureKind::MalformedAnswer,
            message: format!(
                "{} answered {} with something that makes no sense: {} (HTTP status {status})",
                self.cdn,
                self.what,
                self.redactor.quote(why)
            ),
            retry_after: None,
            maybe_done: true,
            cause: Cause::NONE,
        }
    }

    /// A call that this CDN does not know: a mistake of the program or its configuration.
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
        // Without a connection, or a request to put on it, nothing was sent.
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
            // The name comes first: a commit's status has room for 140 characters.
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

/// The Host header as it is sent, and therefore as it is signed: with any port that is not the scheme's own.
pub fn host(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    match endpoint.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A header value that debug output leaves out. What cannot be a header value is sent as nothing, and refused.
pub fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
