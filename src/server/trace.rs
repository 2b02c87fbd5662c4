//! What the log says of each request: client, path and response status.
//!
//! No query, header or body is logged, since they may contain secrets.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::{Error, HttpMessage};
use tracing::{Span, debug, field, info, info_span};
use tracing_actix_web::{RequestId, RootSpanBuilder};

use super::{HOOK, HOOK_WITH_SLASH, RETRY};

/// The span around each request.
pub(super) struct Spans;

impl RootSpanBuilder for Spans {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let client = request.peer_addr().map(|client| client.ip());
        let extensions = request.extensions();
        let id = extensions.get::<RequestId>();
        // Fields that are recorded later make the log parse and write all of them once more.
        info_span!(
            "request",
            method = %request.method(),
            path = request.path(),
            client = client.map(field::display),
            request_id = id.map(field::display),
        )
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let (status, route) = match outcome {
            Ok(answer) => (answer.status(), answer.request().match_pattern()),
            Err(error) => (error.as_response_error().status_code(), None),
        };
        let code = status.as_u16();
        span.in_scope(|| match (route.as_deref(), status) {
            // Another line says what came in, or why the request was refused.
            (Some(HOOK | HOOK_WITH_SLASH), StatusCode::ACCEPTED | StatusCode::UNAUTHORIZED) => {
                debug!(status = code, "answered {code}");
            }
            // Webhooks and actions matter later; pages and health checks only for debugging.
            (Some(HOOK | HOOK_WITH_SLASH | RETRY), _) => {
                info!(status = code, "answered {code}");
            }
            (Some(_) | None, _) => debug!(status = code, "answered {code}"),
        });
    }
}
