//! `POST /hooks/{forge}`: receives webhooks and answers what became of each.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::FutureExt;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{error, warn};

use super::answer::{RETRY_AFTER, shortened};
use super::body::{self, BodyError};
use super::{Shared, answer, run_url};
use crate::config::Config;
use crate::engine::{ReceiveError, Received, RequestBody};
use crate::forge::{Headers, Refusal};
use crate::run::RunId;

/// A response's body.
#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub(super) enum Answer {
    /// 202
    Accepted {
        delivery: String,
        runs: Vec<RunLink>,
        /// A note if the repository was renamed or replaced by another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// 200
    Duplicate {
        delivery: String,
        runs: Vec<RunLink>,
        /// A note if the repository was renamed or replaced by another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// 200
    Pong,
    /// 200
    Ignored {
        why: String,
        /// The sites that it would start runs for if it moved or deployed anything.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sites: Vec<String>,
    },
}

/// A run and its page's address.
#[derive(Serialize)]
pub(super) struct RunLink {
    pub(super) id: String,
    pub(super) url: String,
}

impl RunLink {
    pub(super) fn new(config: &Config, id: &RunId) -> Self {
        Self {
            id: id.to_string(),
            url: run_url(config, id),
        }
    }
}

/// Why a request was rejected. All statuses and texts are defined here.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no forge is configured as {0:?}; use a name from `forges:` in rules.yaml")]
    UnknownForge(String),
    #[error("webhooks are sent with POST")]
    Method,
    #[error("the Content-Encoding {0:?} is not supported; send the body as it is")]
    Encoding(String),
    #[error("the body is larger than the limit of {0} bytes")]
    TooLarge(usize),
    #[error("the sender took longer than {} s for the body", .0.as_secs_f64())]
    TooSlow(Duration),
    #[error(
        "the body arrived too slowly for {} s; the minimum is 16 kB per second",
        .0.as_secs_f64()
    )]
    Stalled(Duration),
    #[error("the body is incomplete, or its chunks are malformed")]
    BrokenOff,
    #[error("too many large deliveries are arriving at once; send it again later")]
    NoSpace,
    #[error("{0}; send one of {1:?}")]
    ContentType(String, &'static [&'static str]),
    #[error("{0}")]
    Unauthorized(String),
    #[error("{0}")]
    Malformed(String),
    #[error("the delivery could not be stored, so it was not accepted; send it again later")]
    NotStored,
    #[error("an internal error occurred, so the delivery was not accepted")]
    Broken,
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownForge(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Encoding(_) | Self::ContentType(..) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) | Self::Stalled(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenOff | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::NoSpace | Self::NotStored => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// An additional header for the status.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method => Some((header::ALLOW, HeaderValue::from_static("POST"))),
            Self::Encoding(_) => Some((
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            )),
            Self::NoSpace | Self::NotStored => {
                Some((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER)))
            }
            Self::UnknownForge(_)
            | Self::TooLarge(_)
            | Self::TooSlow(_)
            | Self::Stalled(_)
            | Self::BrokenOff
            | Self::ContentType(..)
            | Self::Unauthorized(_)
            | Self::Malformed(_)
            | Self::Broken => None,
        }
    }

    fn answer(&self) -> HttpResponse {
        let mut answer = answer::refused(self.status(), self);
        if let Some((name, value)) = self.header() {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

/// Handles one webhook request, whatever its method.
pub(super) async fn receive(
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> HttpResponse {
    let mut payload = payload.into_inner();
    let name = request.match_info().get("forge").unwrap_or_default();
    let config = shared.engine.config();
    if !config.forges.contains_key(name) {
        let refused = Refused::UnknownForge(name.to_owned()).answer();
        let announced = announced(request.headers());
        return body::unwanted(refused, payload, announced, &shared.limits).await;
    }
    let headers = headers(&request);
    let read = match acceptable(&request, &headers, name, &shared) {
        Ok(()) => {
            let announced = announced(request.headers());
            let begin = |size| shared.engine.begin_large_body(name, &headers, size);
            body::read(
                &mut payload,
                announced,
                &shared.limits,
                &shared.budget,
                begin,
            )
            .await
            .map_err(|error| unread(error, name, &shared))
        }
        Err(refused) => Err(refused),
    };
    let (outcome, answer) = match read {
        Ok(body) => match take_in(&request, headers, &shared, name, body).await {
            Ok(received) => (outcome(&received), accepted(&config, received)),
            Err(refused) => ("refused", refused.answer()),
        },
        Err(refused) => (
            "refused",
            body::without_reading(refused.answer(), payload).await,
        ),
    };
    shared.metrics.delivered(name, outcome, answer.status());
    answer
}

/// A text with the address for webhooks that was probably meant by another one.
pub(super) fn address_near(config: &Config, path: &str) -> String {
    let mut names = config.forges.keys();
    let meant = names.find(|name| path.split('/').any(|part| part.eq_ignore_ascii_case(name)));
    let only = config
        .forges
        .keys()
        .next()
        .filter(|_| config.forges.len() == 1);
    match meant.or(only) {
        Some(name) => format!("/hooks/{name}"),
        None => "/hooks/NAME, with the entry's name under `forges:` in rules.yaml".to_owned(),
    }
}

/// Checks what is known before the body is read. Without a valid signature header, the body is never read.
fn acceptable(
    request: &HttpRequest,
    signed: &Headers,
    forge: &str,
    shared: &Shared,
) -> Result<(), Refused> {
    if request.method() != Method::POST {
        return Err(Refused::Method);
    }
    for encoding in request.headers().get_all(header::CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        if !encoding.trim().eq_ignore_ascii_case("identity") {
            return Err(Refused::Encoding(encoding.into_owned()));
        }
    }
    let begun = shared.engine.check_head(forge, signed);
    begun.map_err(|error| refusal(error, forge, shared))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    // The server has already rejected values that are not numbers.
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    Some(length.trim().parse().unwrap_or(u64::MAX))
}

fn headers(request: &HttpRequest) -> Headers {
    let headers = request.headers().iter();
    Headers::new(headers.map(|(name, value)| (name.as_str(), value.as_bytes())))
}

fn unread(error: BodyError, forge: &str, shared: &Shared) -> Refused {
    match error {
        BodyError::TooLarge => Refused::TooLarge(shared.limits.body),
        BodyError::TooSlow => Refused::TooSlow(shared.limits.body_time),
        BodyError::Stalled => Refused::Stalled(shared.limits.body_stall),
        BodyError::NoSpace => {
            warn!("a delivery was rejected: no room for more bodies");
            Refused::NoSpace
        }
        BodyError::BrokenOff => Refused::BrokenOff,
        BodyError::Refused(error) => refusal(error, forge, shared),
    }
}

/// Bodies up to this size, in bytes, are handled on the thread that read them: checking the signature and parsing
/// takes less time than passing them to another thread.
const TAKEN_IN_PLACE: usize = 64 * 1024;

/// Passes a complete request to the engine. A large one runs on the engine's runtime: verifying and parsing 25 MB
/// would block this thread's other connections. If the client disconnects, the delivery is stored all the same.
async fn take_in(
    request: &HttpRequest,
    headers: Headers,
    shared: &Shared,
    forge: &str,
    body: body::Body,
) -> Result<Received, Refused> {
    let content_type = content_type(request.headers());
    let body::Body { body, reservation } = body;
    let is_small = match &body {
        RequestBody::Whole(bytes) => bytes.len() <= TAKEN_IN_PLACE,
        RequestBody::Large(_) => false,
    };
    if is_small {
        let receiving = shared.engine.receive(forge, &headers, &content_type, body);
        // State that a panic leaves inconsistent is never used again.
        let received = AssertUnwindSafe(receiving).catch_unwind().await;
        drop(reservation);
        return match received {
            Ok(received) => received.map_err(|error| refusal(error, forge, shared)),
            Err(_) => Err(broken(forge, "it panicked")),
        };
    }
    let engine = Arc::clone(&shared.engine);
    let name = forge.to_owned();
    let work = shared.runtime.spawn(async move {
        let received = engine.receive(&name, &headers, &content_type, body).await;
        drop(reservation);
        received
    });
    match work.await {
        Ok(received) => received.map_err(|error| refusal(error, forge, shared)),
        Err(error) => Err(broken(forge, &error.to_string())),
    }
}

fn broken(forge: &str, why: &str) -> Refused {
    error!(forge, "handling a delivery failed: {why}");
    Refused::Broken
}

/// The content type without its parameters, in lower case; empty if there is none.
fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

fn refusal(error: ReceiveError, forge: &str, shared: &Shared) -> Refused {
    match error {
        ReceiveError::UnknownForge(name) => Refused::UnknownForge(name),
        ReceiveError::Refused(refusal) => {
            let refused = || warn!(forge, "a request was refused: {refusal}");
            shared.refusals.log(Instant::now(), refused);
            Refused::Unauthorized(match refusal {
                Refusal::OtherMode(words) => words,
                Refusal::Unsigned(words) | Refusal::BadSignature(words) => {
                    format!("{words}; check that both sides have the same secret")
                }
            })
        }
        ReceiveError::ContentType(_) => {
            let sent = shared.engine.config();
            let sent = sent.forges.get(forge).map(|forge| forge.content_types());
            Refused::ContentType(error.to_string(), sent.unwrap_or_default())
        }
        ReceiveError::Malformed(malformed) => Refused::Malformed(malformed.to_string()),
        ReceiveError::Store(error) => {
            error!(forge, "a delivery could not be stored: {error}");
            Refused::NotStored
        }
    }
}

/// The outcome for the metrics, as in the response.
fn outcome(received: &Received) -> &'static str {
    match received {
        Received::Accepted { .. } => "accepted",
        Received::Duplicate { .. } => "duplicate",
        Received::Pong => "pong",
        Received::Ignored { .. } => "ignored",
    }
}

fn accepted(config: &Config, received: Received) -> HttpResponse {
    let links = |runs: Vec<RunId>| runs.iter().map(|id| RunLink::new(config, id)).collect();
    let (status, answer) = match received {
        Received::Accepted {
            delivery,
            runs,
            note,
        } => (
            StatusCode::ACCEPTED,
            Answer::Accepted {
                delivery,
                runs: links(runs),
                note,
            },
        ),
        Received::Duplicate {
            delivery,
            runs,
            note,
        } => (
            StatusCode::OK,
            Answer::Duplicate {
                delivery,
                runs: links(runs),
                note,
            },
        ),
        Received::Pong => (StatusCode::OK, Answer::Pong),
        Received::Ignored { why, sites } => (
            StatusCode::OK,
            Answer::Ignored {
                why: shortened(&why),
                sites,
            },
        ),
    };
    HttpResponse::build(status).json(answer)
}
