//! A forge's REST API: addresses below the configured base, bounded requests, and the meaning of an answer's
//! status.
//!
//! It remembers two things, only to save requests: until when the forge accepts no requests, and the answers to
//! repeated queries.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, LINK, LOCATION};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Url, form_urlencoded};

use super::{Denial, ForgeError};
use crate::cache::LruCache;
use crate::cause::Cause;
use crate::clock::{Clock, ClockSkew};
use crate::event::RepoPath;
use crate::http::{self, AnswerError, Outbound, execute, read_answer, why};
use crate::redact::Redactor;

/// How long to wait if a forge says "too fast" without a time. GitHub asks for at least a minute ("Rate limits for
/// the REST API").
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// The longest wait for a rate limit: each forge counts per hour or minute, so a longer one is a mistake. Asking
/// too early costs one refused request; waiting too long would make the changes of everything pushed in the
/// meantime unknown.
const LONGEST_LIMIT: Duration = Duration::from_secs(60 * 60);
/// The longest wait that a failing server can ask for: as long as for one that does not answer at all, since
/// neither knows when it will recover.
const LONGEST_TROUBLE: Duration = Duration::from_secs(5 * 60);

/// Cached answers to repeated requests.
const MAX_KEPT: usize = 500;
/// The largest answer that is cached, in bytes.
const MAX_KEPT_BYTES: usize = 256 * 1024;

/// One forge's API below its configured address.
pub(super) struct Api {
    /// The forge's name in messages.
    forge: &'static str,
    base: Url,
    outbound: Outbound,
    rate: RateHeaders,
    shut: Mutex<Shut>,
    kept: Mutex<LruCache<String, Kept>>,
    /// Whether any request has succeeded: until then, the address may be wrong.
    has_found: AtomicBool,
    /// How far the forge's clock was ahead of ours at its last answer.
    ahead: Mutex<Option<SignedDuration>>,
}

/// The headers in which a forge says how long to wait.
pub(super) struct RateHeaders {
    /// The number of requests left.
    pub remaining: HeaderName,
    /// The time when there will be more, in epoch seconds.
    pub reset: HeaderName,
}

impl RateHeaders {
    /// GitHub's names, which others have copied.
    pub fn usual() -> Self {
        Self {
            remaining: HeaderName::from_static("x-ratelimit-remaining"),
            reset: HeaderName::from_static("x-ratelimit-reset"),
        }
    }
}

/// The account by which a forge counts requests: a token's, or that of an App's installation.
pub(super) type Account<'a> = &'a str;

/// The account of a forge with a single token.
pub(super) const ONLY: Account<'static> = "";

/// Until when no requests are sent, so that one refusal stops all callers.
#[derive(Default)]
struct Shut {
    for_all: Option<Timestamp>,
    by_account: HashMap<String, Timestamp>,
}

/// Fields of the created status in the answers of GitHub, GitLab, Gitea and Gitee ("Create a commit status", "Set
/// commit pipeline status", `CommitStatus`, "Create a check run"); each answer has one of them.
const STATUS_FIELDS: [&str; 3] = ["id", "state", "status"];

/// An answer that is valid until the forge returns another `ETag`.
struct Kept {
    tag: HeaderValue,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Api {
    pub fn new(forge: &'static str, base: Url, rate: RateHeaders, outbound: &Outbound) -> Self {
        Self {
            forge,
            base,
            outbound: outbound.clone(),
            rate,
            shut: Mutex::default(),
            kept: Mutex::new(LruCache::new(MAX_KEPT)),
            has_found: AtomicBool::new(false),
            ahead: Mutex::default(),
        }
    }

    /// A request to an address made of path segments, each percent-encoded: a `/` inside a segment becomes `%2F`.
    /// Only the base decides the host.
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
        self.outbound.http.request(method, address)
    }

    /// A token as a header's value, after the forge's prefix, if any. Marked as sensitive.
    pub fn credential(
        &self,
        scheme: &str,
        token: &SecretString,
    ) -> Result<HeaderValue, ForgeError> {
        let value = format!("{scheme}{}", token.expose_secret());
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            ForgeError::Refused(format!(
                "{}'s token contains characters that no token has",
                self.forge
            ))
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Sends a request and reads the whole answer. `what` names its purpose, e.g. "compare 1a2b with 3c4d". If the
    /// forge has asked this account to wait, nothing is sent.
    pub async fn send(
        &self,
        account: Account<'_>,
        request: RequestBuilder,
        what: &str,
    ) -> Result<Answer, ForgeError> {
        self.check_open(account, what)?;
        let broken = |error: reqwest::Error| {
            let (words, cause) = why(error);
            ForgeError::Later {
                message: format!(
                    "{} did not answer when asked to {what}: {}",
                    self.forge,
                    self.outbound.redactor.quote(&words)
                ),
                retry_after: None,
                cause,
            }
        };
        let (client, request) = request.build_split();
        let request = request.map_err(broken)?;
        let redactor = self.outbound.redactor.after(request.headers());
        // The forge may close an idle connection just when it is used again. Repeating a read costs nothing; for a
        // write, the caller decides whether it may be repeated.
        let once_more = match *request.method() {
            Method::GET => request.try_clone(),
            _ => None,
        };
        let response = match (execute(&client, request).await, once_more) {
            (Err(error), Some(request)) if was_closed(&error) => execute(&client, request).await,
            (result, _) => result,
        };
        let response = response.map_err(broken)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            self.has_found.store(true, Ordering::Relaxed);
        }
        let headers = response.headers().clone();
        if let Some(date) = http::date(&headers) {
            *self.ahead.lock() = Some(date.duration_since(self.timestamp()));
        }
        let body = match read_answer(response).await {
            Ok(body) => Some(body),
            Err(AnswerError::TooLong) => None,
            Err(AnswerError::BrokeOff(error)) => return Err(broken(error)),
        };
        let answer = Answer {
            forge: self.forge,
            what: what.to_owned(),
            account: account.to_owned(),
            redactor,
            status,
            headers,
            body,
        };
        // The last request that was left still gets its answer; the next one would be refused.
        if let Some(wait) = self.reset_in(&answer) {
            self.shut_until(account, self.timestamp() + wait);
        }
        Ok(answer)
    }

    /// Like [`send`](Self::send), for a repeated `GET`: if the answer cached under `key` is still current, the
    /// forge only confirms that, which GitHub does not count ("Best practices for using the REST API").
    pub async fn send_again(
        &self,
        account: Account<'_>,
        key: &str,
        request: RequestBuilder,
        what: &str,
    ) -> Result<Answer, ForgeError> {
        let key = format!("{account} {key}");
        let tag = self.kept.lock().get(&key).map(|kept| kept.tag.clone());
        let request = match tag {
            Some(tag) => request.header(IF_NONE_MATCH, tag),
            None => request,
        };
        let mut answer = self.send(account, request, what).await?;
        let mut kept = self.kept.lock();
        if answer.status == StatusCode::NOT_MODIFIED
            && let Some(known) = kept.get(&key)
        {
            answer.status = StatusCode::OK;
            answer.headers = known.headers.clone();
            answer.body = Some(known.body.clone());
            return Ok(answer);
        }
        kept.remove(&key);
        if answer.status == StatusCode::OK
            && let (Some(tag), Some(body)) = (answer.headers.get(ETAG), &answer.body)
            && body.len() <= MAX_KEPT_BYTES
        {
            let answer = Kept {
                tag: tag.clone(),
                headers: answer.headers.clone(),
                body: body.clone(),
            };
            kept.put(key, answer);
        }
        Ok(answer)
    }

    /// Checks that a request may be sent now.
    fn check_open(&self, account: Account<'_>, what: &str) -> Result<(), ForgeError> {
        let now = self.timestamp();
        let mut shut = self.shut.lock();
        shut.by_account.retain(|_, until| *until > now);
        let until = shut.for_all.max(shut.by_account.get(account).copied());
        match until.filter(|until| *until > now) {
            None => Ok(()),
            Some(until) => Err(ForgeError::Later {
                message: format!(
                    "rate limit: {} asked for a pause until {}, so it was not asked to {what}",
                    self.forge,
                    until.strftime("%H:%M:%S UTC")
                ),
                retry_after: Some(
                    Duration::try_from(until.duration_since(now)).unwrap_or_default(),
                ),
                cause: Cause::NONE,
            }),
        }
    }

    fn shut_until(&self, account: Account<'_>, until: Timestamp) {
        let mut shut = self.shut.lock();
        let known = shut.by_account.entry(account.to_owned()).or_insert(until);
        *known = until.max(*known);
    }

    /// The time until an account without requests left gets new ones.
    fn reset_in(&self, answer: &Answer) -> Option<Duration> {
        if !self.is_out_of_requests(answer) {
            return None;
        }
        let reset = i64::try_from(number(answer.headers.get(&self.rate.reset))?).ok()?;
        let seconds = u64::try_from(reset.saturating_sub(self.now())).unwrap_or(0);
        Some(Duration::from_secs(seconds.max(1)).min(LONGEST_LIMIT))
    }

    /// Whether the forge says that no requests are left.
    pub fn is_out_of_requests(&self, answer: &Answer) -> bool {
        number(answer.headers.get(&self.rate.remaining)) == Some(0)
    }

    /// How long the forge asks us to wait: by `Retry-After`, up to `longest`, and until its limit resets if no
    /// requests are left. GitHub says "should not" in both cases.
    fn wait(&self, answer: &Answer, longest: Duration) -> Option<Duration> {
        let asked = http::retry_after(&answer.headers).map(|wait| wait.min(longest));
        asked.max(self.reset_in(answer))
    }

    /// "Too fast", with the wait that the forge asks for or one minute. Until then, no other requests are sent
    /// either.
    pub fn too_fast(&self, answer: &Answer) -> ForgeError {
        let wait = self.wait(answer, LONGEST_LIMIT).unwrap_or(DEFAULT_WAIT);
        let until = self.timestamp() + wait;
        if self.is_out_of_requests(answer) {
            self.shut_until(&answer.account, until);
        } else {
            // This limits the rate of requests, not their number: GitHub counts those of all accounts together.
            let mut shut = self.shut.lock();
            shut.for_all = shut.for_all.max(Some(until));
        }
        ForgeError::Later {
            message: format!("rate limit: {}", answer.sentence()),
            retry_after: Some(wait),
            cause: Cause::NONE,
        }
    }

    /// The meaning of a status on every forge. Each forge handles its own peculiarities first.
    pub fn error(&self, answer: &Answer) -> ForgeError {
        let sentence = answer.sentence();
        match answer.status.as_u16() {
            // No redirect is followed: only the configuration says where requests go.
            300..=399 => {
                let place = answer.redirect();
                let place = place.map_or_else(String::new, |place| format!(", to {place}"));
                denied(
                    Denial::Repository,
                    format!(
                        "{sentence}; the repository was moved or renamed{place}: update `repo:`, or `api_url:` if the \
                         whole forge moved"
                    ),
                )
            }
            401 => denied(
                Denial::Token,
                format!("{sentence}; check that the forge's token is right and has not expired"),
            ),
            451 => denied(Denial::Repository, sentence),
            404 | 410 if self.has_found.load(Ordering::Relaxed) => ForgeError::Gone(format!(
                "{sentence}; it does not exist, or the token may not read it"
            )),
            404 | 410 => ForgeError::Gone(format!(
                "{sentence}; it does not exist, or the token may not read it, or `api_url:` ({}) is not the API's \
                 address with its path: nothing was found there so far",
                self.base
            )),
            429 => self.too_fast(answer),
            408 | 409 | 425 | 500..=599 => ForgeError::Later {
                message: sentence,
                retry_after: self.wait(answer, LONGEST_TROUBLE),
                cause: Cause::NONE,
            },
            _ => ForgeError::Refused(sentence),
        }
    }

    /// How far the forge's clock differed from ours at its last answer, if it may differ by at most `tolerance`
    /// seconds.
    pub fn clock_skew(&self, tolerance: i64) -> Option<ClockSkew> {
        let ahead = *self.ahead.lock();
        Some(ClockSkew {
            ahead: ahead?,
            tolerance: SignedDuration::from_secs(tolerance),
        })
    }

    /// A quote from the forge, redacted and safe to show.
    pub fn quote(&self, words: &str) -> String {
        self.outbound.redactor.quote(words)
    }

    /// The clock, for pauses between requests.
    pub fn clock(&self) -> &Clock {
        &self.outbound.clock
    }

    /// The current time.
    pub fn timestamp(&self) -> Timestamp {
        self.outbound.clock.now()
    }

    /// The current time in epoch seconds.
    pub fn now(&self) -> i64 {
        self.timestamp().as_second()
    }
}

/// The error for a request that is refused until a person changes something.
pub(super) fn denied(denial: Denial, message: String) -> ForgeError {
    ForgeError::Denied { denial, message }
}

/// The path segments for something in a repository, on forges where owner and name are separate segments.
pub(super) fn repo_path<'a>(repo: &'a RepoPath, path: &[&'a str]) -> Vec<&'a str> {
    let mut segments = vec!["repos"];
    segments.extend(repo.as_str().split('/'));
    segments.extend(path);
    segments
}

/// A complete answer.
pub(super) struct Answer {
    forge: &'static str,
    what: String,
    account: String,
    redactor: Redactor,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// None if it was longer than [`crate::http::MAX_ANSWER`].
    body: Option<Vec<u8>>,
}

impl Answer {
    /// Whether the body was too long to be read.
    pub fn is_too_long(&self) -> bool {
        self.body.is_none()
    }

    /// The body as JSON. Anything else is a broken answer: try again.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        let body = self.body.as_deref().unwrap_or_default();
        serde_json::from_slice(body).map_err(|error| ForgeError::Later {
            message: self.redactor.quote(&format!(
                "{} gave an answer that is not as documented when asked to {}: {error}",
                self.forge, self.what
            )),
            retry_after: None,
            cause: Cause::NONE,
        })
    }

    /// Checks that the forge accepted a status: a success that contains the status. A proxy's page does not.
    pub fn has_status(&self) -> Result<(), ForgeError> {
        let shown: serde_json::Map<String, serde_json::Value> = self.json()?;
        if STATUS_FIELDS.iter().any(|field| shown.contains_key(*field)) {
            return Ok(());
        }
        Err(ForgeError::Later {
            message: self.redactor.quote(&format!(
                "{} answered {} without a status when asked to {}",
                self.forge, self.status, self.what
            )),
            retry_after: None,
            cause: Cause::NONE,
        })
    }

    /// Where a redirect points to, fit to be shown.
    fn redirect(&self) -> Option<String> {
        let place = self.headers.get(LOCATION)?.to_str().ok()?;
        Some(self.redactor.quote(place))
    }

    /// A quote from the forge, redacted and safe to show.
    pub fn quote(&self, words: &str) -> String {
        self.redactor.quote(words)
    }

    /// "GitHub answered 404 Not Found when asked to compare ..: its text".
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

    /// The text of an error's body, on one line and of bounded length.
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
                self.redactor.quote(&parts.join("; "))
            }
            // GitLab's rate limiter answers in plain text. HTML pages are no help.
            Err(_) => match std::str::from_utf8(body) {
                Ok(text) if !text.trim_start().starts_with('<') => self.redactor.quote(text.trim()),
                Ok(_) | Err(_) => String::new(),
            },
        }
    }
}

/// The query of a list's next page, from the `Link` header. Only the query is used: an answer never decides where a
/// request goes.
pub(super) fn next_link(headers: &HeaderMap) -> Option<Vec<(String, String)>> {
    let links = headers.get_all(LINK).iter().filter_map(|v| v.to_str().ok());
    let (target, _) = links
        .flat_map(|value| value.split(','))
        .filter_map(|link| link.split_once(';'))
        .find(|(_, parameters)| {
            parameters
                .split(';')
                .any(|p| matches!(p.trim(), r#"rel="next""# | "rel=next"))
        })?;
    let target = target.trim().trim_start_matches('<').trim_end_matches('>');
    let query = match Url::parse(target) {
        Ok(url) => url.query().unwrap_or_default().to_owned(),
        Err(_) => target.split_once('?').map_or("", |(_, q)| q).to_owned(),
    };
    let pairs = form_urlencoded::parse(query.as_bytes());
    Some(pairs.into_owned().collect())
}

/// Whether an established connection ended without an answer.
fn was_closed(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

/// A header that holds a whole number.
fn number(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// Collects the texts in an error's value, in any format: GitHub's `errors` is a list of objects or one string,
/// GitLab's `message` a string or lists by field.
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
