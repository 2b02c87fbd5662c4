//! What the log says of each request: client, path and response status.
//!
//! No query, header or body is logged, since they may contain secrets.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};
use tokio::time::Instant;
use tracing::{Span, debug, field, info, info_span};
use tracing_actix_web::{RequestId, RootSpanBuilder};

use super::{HOOK, HOOK_WITH_SLASH, RETRY, Shared};

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
        let (status, route, shared) = match outcome {
            Ok(answer) => {
                let request = answer.request();
                let shared = request.app_data::<Data<Shared>>();
                (answer.status(), request.match_pattern(), shared)
            }
            Err(error) => (error.as_response_error().status_code(), None, None),
        };
        let code = status.as_u16();
        span.in_scope(|| match (route.as_deref(), status, shared) {
            // Another line says what came in, or why the request was refused.
            (Some(HOOK | HOOK_WITH_SLASH), StatusCode::ACCEPTED | StatusCode::UNAUTHORIZED, _) => {
                debug!(status = code, "answered {code}");
            }
            (Some(HOOK | HOOK_WITH_SLASH), _, Some(shared)) if status.is_client_error() => {
                let answered = || info!(status = code, "answered {code}");
                shared.refusals.log(Instant::now(), answered);
            }
            // Webhooks and actions matter later; pages and health checks only for debugging.
            (Some(HOOK | HOOK_WITH_SLASH | RETRY), _, _) => {
                info!(status = code, "answered {code}");
            }
            (Some(_) | None, _, _) => debug!(status = code, "answered {code}"),
        });
    }
}
