//! Common parts of HTTP responses: headers, error texts, and the response counter.

use std::fmt::Display;

use actix_web::body::MessageBody;
use actix_web::dev::{Handler, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, Resource, Responder, web,
};
use serde::Serialize;
use tracing::error;
use tracing_actix_web::RequestId;

use super::Shared;
use super::connection::{Activity, AnswerBody};
use crate::store::StoreError;

/// Seconds after which a request that failed because of the store may be repeated.
pub(super) const RETRY_AFTER: &str = "10";
/// The maximum length of an error or a reason in characters: GitLab keeps only 8 kB of a response.
const LONGEST_WORDS: usize = 1_000;

const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// The error response.
#[derive(Serialize)]
struct Refused<'a> {
    outcome: &'static str,
    error: &'a str,
}

/// An error response as JSON: what happened and what to do.
pub(super) fn refused(status: StatusCode, words: impl Display) -> HttpResponse {
    HttpResponse::build(status).json(Refused {
        outcome: "refused",
        error: &shortened(&words.to_string()),
    })
}

/// The store could not be read or written: 503, with details only in the log.
pub(super) fn store_failed(error: &StoreError) -> HttpResponse {
    error!("a request met a store out of order: {error}");
    let mut answer = refused(
        StatusCode::SERVICE_UNAVAILABLE,
        "the store does not answer at the moment; try again in a few seconds",
    );
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    answer
}

/// 405, with the allowed methods.
pub(super) async fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    let mut answer = refused(
        StatusCode::METHOD_NOT_ALLOWED,
        format_args!("this address takes {allowed} only"),
    );
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Shortens a text that quotes something long.
pub(super) fn shortened(words: &str) -> String {
    match words.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}

/// A route that accepts GET and HEAD, and answers 405 to other methods.
pub(super) fn readable<F, Args>(path: &'static str, handler: F) -> Resource
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(|| method_not_allowed("GET, HEAD")))
}

/// Adds the common headers to every response, and counts it.
pub(super) async fn finish(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<AnswerBody>, Error> {
    let answering = Activity::begin(&request);
    let mut answer = next.call(request).await?;
    if let Some(shared) = answer.request().app_data::<web::Data<Shared>>() {
        let route = answer.request().match_pattern();
        shared
            .metrics
            .answered(route.as_deref().unwrap_or("none"), answer.status());
    }
    let request_id = request_id(answer.request());
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(id) = request_id {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    Ok(answer.map_body(|_, body| AnswerBody::new(body, answering)))
}

/// The request's id in the log.
fn request_id(request: &HttpRequest) -> Option<HeaderValue> {
    let id = request.extensions().get::<RequestId>().copied()?;
    HeaderValue::from_str(&id.to_string()).ok()
}
