//! One HTTP exchange as values: a service's request and its answer.

use jiff::Timestamp;
use serde_json::Value;

/// The longest body shown in the record, in bytes.
const MAX_SHOWN_BODY: usize = 2_000;

/// A request as it was sent, without any decoding.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path as sent, percent-encoding included.
    pub path: String,
    /// The query as sent, without `?`.
    pub query: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first value of a header (named in lower case), trimmed.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.trim())
    }

    /// The media type of the body, without parameters and in lower case.
    pub fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    /// The query's parameters, decoded, in order.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        form_pairs(self.query.as_bytes())
    }

    /// The last value of a query parameter.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let found = self.query_pairs().into_iter().rev();
        found
            .into_iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    /// One line for the record: method, path, query, and the body if it is short.
    pub fn summary(&self) -> String {
        let mut line = format!("{} {}", self.method, self.path);
        if !self.query.is_empty() {
            line.push('?');
            line.push_str(&self.query);
        }
        if !self.body.is_empty() && self.body.len() <= MAX_SHOWN_BODY {
            line.push(' ');
            line.push_str(&String::from_utf8_lossy(&self.body));
        }
        line
    }

    /// The path's segments, decoded one by one, so that an encoded slash stays inside its segment.
    pub fn segments(&self) -> Vec<String> {
        let path = self.path.trim_matches('/');
        path.split('/').map(decode).collect()
    }
}

/// Decodes percent-encoding; invalid UTF-8 is replaced.
pub(super) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// The pairs of an `application/x-www-form-urlencoded` text, decoded, in order.
pub(super) fn form_pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// A service's answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside `Date` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// For the record: `ok`, or the service's error code or message.
    pub outcome: String,
}

impl Answer {
    /// 304: the client's version is current.
    pub fn unchanged() -> Self {
        Self {
            outcome: "ok".into(),
            ..Self::text(304, "")
        }
    }

    /// A successful JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string().into_bytes(),
            outcome: "ok".into(),
        }
    }

    /// A failed JSON answer; the record shows `code`.
    pub fn refusal(status: u16, code: impl Into<String>, body: &Value) -> Self {
        Self {
            outcome: code.into(),
            ..Self::json(status, body)
        }
    }

    /// A failed answer in plain text.
    pub fn text(status: u16, text: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "text/plain".into())],
            body: text.as_bytes().to_vec(),
            outcome: text.trim().to_owned(),
        }
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// One simulated API: its state, and its answers.
///
/// Answering is a plain function of the state, the request and the time.
pub(super) trait Api: Send {
    /// The action of a request, as named in faults and the record (`PurgeUrlsCache`, `POST statuses`).
    fn action(&self, request: &Request) -> String;
    /// The part of the request that is shown in the record.
    fn summary(&self, request: &Request) -> String;
    /// Does the work and answers.
    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer;
    /// The service's own answer to too many requests.
    fn throttled(&self, now: Timestamp) -> Answer;
    /// An error in the service's format with the given code.
    fn failure(&self, code: &str) -> Answer;
    /// The service's own answer when the daily quota is used up.
    fn out_of_quota(&self, action: &str) -> Answer;
}
