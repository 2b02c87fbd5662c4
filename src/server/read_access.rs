//! Read access: if a `read_token` is configured, pages, API and metrics require it. Programs send it as a bearer
//! token, and browsers as the password of HTTP Basic with any user name.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{Shared, answer, pages};

/// Asks a browser for a name and a password; a bearer token works too.
const CHALLENGES: [&str; 2] = [
    "Basic realm=\"purgehook\", charset=\"UTF-8\"",
    "Bearer realm=\"purgehook\"",
];

/// Why a client may not read.
enum Denied {
    /// Its token is missing or wrong.
    Unauthorized,
    /// Its address sent too many wrong tokens: this one is not checked.
    TooManyGuesses(Duration),
}

/// Accepts a request with the read token, or with the admin token, if a read token is configured.
pub(super) async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    let denied = match request.app_data::<Data<Shared>>() {
        Some(shared) => denied(shared, request.request()),
        None => Some(Denied::Unauthorized),
    };
    match denied {
        None => Ok(next.call(request).await?.map_into_boxed_body()),
        Some(denied) => {
            let refused = refusal(&denied, request.request());
            Ok(request.into_response(refused))
        }
    }
}

/// Whether a request has read access.
pub(super) fn may_read(shared: &Shared, request: &HttpRequest) -> bool {
    denied(shared, request).is_none()
}

fn denied(shared: &Shared, request: &HttpRequest) -> Option<Denied> {
    let config = shared.engine.config();
    let wanted = config.server.read_token.as_ref()?;
    let Some(given) = given(request.headers()) else {
        return Some(Denied::Unauthorized);
    };
    let (peer, now) = (request.peer_addr().map(|peer| peer.ip()), Instant::now());
    if let Some(wait) = peer.and_then(|peer| shared.read_guesses.wait(peer, now)) {
        return Some(Denied::TooManyGuesses(wait));
    }
    // Both are compared, so that timing does not reveal which one matches.
    let is = |token: &SecretString| token.expose_secret().as_bytes().ct_eq(&given);
    let admin = config.server.admin_token.as_ref().map(is);
    let good = is(wanted) | admin.unwrap_or_else(|| 0.into());
    if good.into() {
        return None;
    }
    if let Some(peer) = peer {
        shared.read_guesses.wrong(peer, now);
    }
    Some(Denied::Unauthorized)
}

/// The token of `Bearer`, or the password of `Basic` (RFC 7617). The scheme names ignore case.
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("Bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("Basic") {
        let both = STANDARD.decode(rest).ok()?;
        let colon = both.iter().position(|byte| *byte == b':')?;
        return both.get(colon + 1..).map(<[u8]>::to_vec);
    }
    None
}

fn refusal(denied: &Denied, request: &HttpRequest) -> HttpResponse {
    match denied {
        Denied::Unauthorized => {
            let words = "this asks for the read token: send `Authorization: Bearer <read token>`, or give it to \
                         your browser as the password, with any name";
            let mut refused = said(request, StatusCode::UNAUTHORIZED, "Log in", words);
            for challenge in CHALLENGES {
                let challenge = HeaderValue::from_static(challenge);
                refused
                    .headers_mut()
                    .append(header::WWW_AUTHENTICATE, challenge);
            }
            refused
        }
        Denied::TooManyGuesses(wait) => {
            let seconds = wait.as_secs().saturating_add(1);
            let words = format!(
                "too many wrong read tokens came from your address; try again in {seconds} s"
            );
            let mut refused = said(request, StatusCode::TOO_MANY_REQUESTS, "Wait", &words);
            let seconds = HeaderValue::from(seconds);
            refused.headers_mut().insert(header::RETRY_AFTER, seconds);
            refused
        }
    }
}

/// A page for people, JSON for programs.
fn said(request: &HttpRequest, status: StatusCode, title: &str, words: &str) -> HttpResponse {
    let path = request.path();
    if path.starts_with("/api/") || path == "/metrics" {
        answer::refused(status, words)
    } else {
        pages::message(request, status, title, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        given(&headers)
    }

    #[test]
    fn a_token_comes_behind_bearer_or_as_the_password_of_basic() {
        let basic = |text: &str| of(&format!("Basic {}", STANDARD.encode(text)));

        assert_eq!(of("bEARER  abc ").unwrap(), b"abc");
        assert_eq!(basic("any name:abc").unwrap(), b"abc");
        assert_eq!(basic(":a:b").unwrap(), b"a:b");
        assert_eq!(basic("abc"), None);
        assert_eq!(of("Basic !"), None);
        assert_eq!(of("Digest abc"), None);
        assert_eq!(of("abc"), None);
    }
}
