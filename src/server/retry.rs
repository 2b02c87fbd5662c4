//! `POST /api/v1/runs/{id}/retry`: retries a failed run; requires the admin token.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tracing::info;

use super::guesses::Guesses;
use super::hooks::RunLink;
use super::{Shared, answer, api, query};
use crate::store::RetryOutcome;

#[derive(Serialize)]
struct Accepted {
    outcome: &'static str,
    run: RunLink,
}

pub(super) async fn retry(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let config = shared.engine.config();
    let peer = request.peer_addr().map(|peer| peer.ip());
    let token = config.server.admin_token.as_ref();
    if let Err(denied) = authorize(request.headers(), token, peer, &shared.guesses) {
        return denied.answer();
    }
    let asked = request.match_info().get("id").unwrap_or_default();
    let Some(id) = query::run_id(asked) else {
        return api::no_such_run(asked);
    };
    let run = id.clone();
    match shared
        .ask(|engine| async move { engine.retry(&run).await })
        .await
    {
        Ok(RetryOutcome::Retried) => {
            info!(run = %id, "run {id} is tried again");
            HttpResponse::Accepted().json(Accepted {
                outcome: "accepted",
                run: RunLink::new(&config, &id),
            })
        }
        Ok(RetryOutcome::NotRetriable) => answer::refused(
            StatusCode::CONFLICT,
            format_args!(
                "the run {id} has not failed; only failed and errored runs can be tried again"
            ),
        ),
        Ok(RetryOutcome::NotFound) => api::no_such_run(asked),
        Err(error) => answer::store_failed(&error),
    }
}

/// Why a client may not act.
enum Denied {
    /// No admin token is configured.
    ActionsOff,
    /// Its token is missing or wrong.
    Unauthorized,
    /// Its address sent too many wrong tokens: this one is not checked.
    TooManyGuesses(Duration),
}

impl Denied {
    fn answer(&self) -> HttpResponse {
        match self {
            Self::ActionsOff => answer::refused(
                StatusCode::FORBIDDEN,
                "actions are off; set `admin_token` under `server:` in rules.yaml to turn them on",
            ),
            Self::Unauthorized => {
                let mut refused = answer::refused(
                    StatusCode::UNAUTHORIZED,
                    "the admin token is missing or wrong; send `Authorization: Bearer <admin token>`",
                );
                refused.headers_mut().insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"purgehook\""),
                );
                refused
            }
            Self::TooManyGuesses(wait) => {
                let seconds = wait.as_secs().saturating_add(1);
                let mut refused = answer::refused(
                    StatusCode::TOO_MANY_REQUESTS,
                    format_args!(
                        "too many wrong admin tokens came from your address; try again in {seconds} s"
                    ),
                );
                let headers = refused.headers_mut();
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                refused
            }
        }
    }
}

/// Accepts `Authorization: Bearer <admin token>`, unless the address sent too many wrong tokens.
fn authorize(
    headers: &HeaderMap,
    token: Option<&SecretString>,
    peer: Option<IpAddr>,
    guesses: &Guesses,
) -> Result<(), Denied> {
    let token = token
        .map(SecretString::expose_secret)
        .filter(|token| !token.is_empty())
        .ok_or(Denied::ActionsOff)?;
    let given = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .and_then(bearer)
        .ok_or(Denied::Unauthorized)?;
    let now = Instant::now();
    if let Some(wait) = peer.and_then(|peer| guesses.wait(peer, now)) {
        return Err(Denied::TooManyGuesses(wait));
    }
    if token.as_bytes().ct_eq(given).into() {
        return Ok(());
    }
    if let Some(peer) = peer {
        guesses.wrong(peer, now);
    }
    Err(Denied::Unauthorized)
}

/// The token of `Bearer`, a scheme name that ignores case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stands_behind_the_word_bearer() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Bearer"), None);
        assert_eq!(bearer(b"Basic abcd"), None);
        assert_eq!(bearer(b"Bearerabc"), None);
    }
}
