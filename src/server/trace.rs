//! The log entry of each request: client, path and response status.
//!
//! No query, header or body is logged, since they may contain secrets.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::{Error, HttpMessage};
use tracing::{Span, debug, field, info, info_span};
use tracing_actix_web::{RequestId, RootSpanBuilder};

/// The span around each request.
pub(super) struct Spans;

impl RootSpanBuilder for Spans {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let client = request.peer_addr().map(|client| client.ip());
        let extensions = request.extensions();
        let id = extensions.get::<RequestId>();
        // What is recorded later has all fields read and written once more.
        info_span!(
            "request",
            method = %request.method(),
            path = request.path(),
            client = client.map(field::display),
            request_id = id.map(field::display),
            status = field::Empty,
        )
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let (status, route) = match outcome {
            Ok(answer) => (answer.status(), answer.request().match_pattern()),
            Err(error) => (error.as_response_error().status_code(), None),
        };
        let status = status.as_u16();
        span.record("status", status);
        span.in_scope(|| match route.as_deref() {
            // Webhooks and actions matter later; pages and health checks only for debugging.
            Some("/hooks/{forge}" | "/hooks/{forge}/" | "/api/v1/runs/{id}/retry") => {
                info!("answered {status}")
            }
            Some(_) | None => debug!("answered {status}"),
        });
    }
}
