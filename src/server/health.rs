//! Whether the process lives, and whether it can take in deliveries.

use actix_web::web::Data;
use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;
use tracing::warn;

use super::Shared;

/// How each part stands: `ok`, or what is wrong.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    store: &'static str,
    rules: &'static str,
    serving: &'static str,
}

/// `GET /healthz`: the process answers. Says nothing of the store, so that nobody restarts a process for a full disk.
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// `GET /readyz`: whether a delivery could be taken in now.
pub(super) async fn ready(shared: Data<Shared>) -> HttpResponse {
    let draining = shared.is_draining();
    let limit = shared.limits.probe_time;
    let probe = shared.ask(|engine| async move { engine.store().check_writable().await });
    let writable = match tokio::time::timeout(limit, probe).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            warn!("not ready: {error}");
            false
        }
        Err(_) => {
            warn!("not ready: the store took longer than {limit:?} for a row");
            false
        }
    };
    let has_rules = !shared.engine.config().sites.is_empty();
    let ready = writable && has_rules && !draining;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).json(Readiness {
        ready,
        store: if writable {
            "ok"
        } else {
            "cannot be written to"
        },
        rules: if has_rules { "ok" } else { "there is no site" },
        serving: if draining { "stopping" } else { "ok" },
    })
}
