//! The one client for outgoing requests, with limits on time and size.

mod proxies;
mod resolver;

use std::cell::Cell;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::Proxy;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use self::resolver::{Resolver, Unresolved};
use crate::cause::Cause;
use crate::clock::Clock;
use crate::redact::Redactor;

/// How long establishing a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole request may take, including the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum size of an answer in bytes. The largest answer we request is a git tree of 100,000 entries, which
/// GitHub truncates at 7 MB.
pub const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// What the clients of forges and CDNs share: the HTTP client, the clock and the redactor.
#[derive(Clone)]
pub struct Outbound {
    /// The client for every outgoing request.
    pub http: reqwest::Client,
    /// The clock for signatures, nonces and pauses.
    pub clock: Clock,
    /// The redactor for quotes from answers.
    pub redactor: Redactor,
}

impl Outbound {
    /// A client that follows no redirects (a redirect would send credentials to a host that is not configured) and
    /// sends a User-Agent (GitHub requires one).
    ///
    /// It uses no proxy for this machine's own addresses, whatever the environment says.
    pub fn new(clock: Clock) -> anyhow::Result<Self> {
        Self::through(proxies::of_environment()?, clock)
    }

    /// A client without any proxy, for requests to another program on this machine.
    pub fn direct(clock: Clock) -> anyhow::Result<Self> {
        Self::through(Vec::new(), clock)
    }

    fn through(proxies: Vec<Proxy>, clock: Clock) -> anyhow::Result<Self> {
        // An error means that a provider is already installed, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().no_proxy();
        for proxy in proxies {
            builder = builder.proxy(proxy);
        }
        let http = builder
            .user_agent(concat!("purgehook/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Resolver::default()))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build()?;
        Ok(Self {
            http,
            clock,
            redactor: Redactor::default(),
        })
    }
}

tokio::task_local! {
    /// Whether the work that [`tracked`] runs has sent a request.
    static HAS_ASKED: Cell<bool>;
}

/// Sends a request. Every request to a forge or CDN goes through this function.
pub async fn execute(
    client: &reqwest::Client,
    request: reqwest::Request,
) -> Result<reqwest::Response, reqwest::Error> {
    note_request();
    client.execute(request).await
}

/// Records a request that is sent in another way than by [`execute`].
pub fn note_request() {
    // Some requests are sent outside [`tracked`].
    let _ = HAS_ASKED.try_with(|asked| asked.set(true));
}

/// Runs some work, and tells whether it sent a request: a result without one says nothing about the upstream.
pub async fn tracked<T>(work: impl Future<Output = T>) -> (T, bool) {
    let both = async {
        let came_of_it = work.await;
        (came_of_it, HAS_ASKED.with(Cell::get))
    };
    HAS_ASKED.scope(Cell::new(false), both).await
}

/// Why there is no answer, with the source error but without the request's address, which may contain the
/// signature.
///
/// reqwest's own text omits the causes: "error sending request". If the host name could not be resolved, the result
/// says only that.
pub fn why(error: reqwest::Error) -> (String, Cause) {
    let error = error.without_url();
    let words = unresolved(&error).unwrap_or_else(|| {
        let mut text = error.to_string();
        for cause in causes(&error) {
            let _ = write!(text, ": {cause}");
        }
        text
    });
    (words, Cause::of(error))
}

/// The error of name resolution, if that is why there is no answer.
pub fn unresolved(error: &reqwest::Error) -> Option<String> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<Unresolved>())
        .map(Unresolved::to_string)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// The server's time according to its Date header.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    moment(headers, DATE)
}

/// How long a server asks us to wait: a number of seconds, or until a time by its own clock (RFC 9110,
/// "Retry-After"). The caller decides how much of that to respect.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Ok(seconds) = text(headers, RETRY_AFTER)?.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = moment(headers, RETRY_AFTER)?.duration_since(date(headers)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

fn moment(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    let date = rfc2822::parse(text(headers, name)?.trim()).ok()?;
    Some(date.timestamp())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Reads an answer's body, up to [`MAX_ANSWER`] bytes.
pub async fn read_answer(mut response: reqwest::Response) -> Result<Vec<u8>, AnswerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(AnswerError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why an answer could not be read completely.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The connection broke or timed out.
    #[error("the answer ended too early: {0}")]
    BrokeOff(#[from] reqwest::Error),
    /// The answer has more than [`MAX_ANSWER`] bytes.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_in_seconds_or_until_a_moment_of_the_servers_clock() {
        let (noon, ten_past) = (
            "Sun, 22 Nov 2026 12:00:00 GMT",
            "Sun, 22 Nov 2026 12:10:00 GMT",
        );
        let cases = [
            ("120", noon, Some(120)),
            (ten_past, noon, Some(600)),
            (noon, ten_past, Some(0)),
            (noon, "once", None),
            ("soon", noon, None),
            ("-1", noon, None),
        ];
        for (asked, date, seconds) in cases {
            let headers = [(RETRY_AFTER, asked), (DATE, date)];
            let headers = headers.map(|(name, text)| (name, text.parse().unwrap()));

            let wait = retry_after(&HeaderMap::from_iter(headers));

            assert_eq!(wait, seconds.map(Duration::from_secs), "{asked} at {date}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_request_anywhere_in_some_work_counts_and_one_of_other_work_does_not() {
        let asking = async {
            tokio::task::yield_now().await;
            note_request();
            1
        };

        let (asked, idle) = tokio::join!(tracked(asking), tracked(async { 2 }));

        assert_eq!((asked, idle), ((1, true), (2, false)));
        // This request is sent outside [`tracked`].
        note_request();
    }
}
