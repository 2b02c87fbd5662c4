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
        let span = info_span!(
            "request",
            method = %request.method(),
            path = request.path(),
            client = field::Empty,
            status = field::Empty,
            request_id = field::Empty,
        );
        if let Some(client) = request.peer_addr() {
            span.record("client", field::display(client.ip()));
        }
        if let Some(id) = request.extensions().get::<RequestId>() {
            span.record("request_id", field::display(id));
        }
        span
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
