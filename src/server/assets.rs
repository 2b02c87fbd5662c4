//! The style sheet and the icon, compiled into the program.

use std::sync::LazyLock;

use actix_web::http::header::{self, ETag, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

/// The path of the style sheet.
pub(super) const STYLE_PATH: &str = "/assets/style.css";
/// The path of the icon.
pub(super) const ICON_PATH: &str = "/assets/icon.svg";

const STYLE: &str = include_str!("../../templates/style.css");
const ICON: &str = include_str!("../../templates/icon.svg");

/// A version of the assets' content; pages add it to their addresses, so that browsers can cache them for ever.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::new().chain_update(STYLE).chain_update(ICON);
    hex::encode(&digest.finalize()[..6])
});

pub(super) async fn style(request: HttpRequest) -> HttpResponse {
    asset(&request, "text/css; charset=utf-8", STYLE)
}

pub(super) async fn icon(request: HttpRequest) -> HttpResponse {
    asset(&request, "image/svg+xml", ICON)
}

fn asset(request: &HttpRequest, content_type: &'static str, content: &'static str) -> HttpResponse {
    let tag = EntityTag::new_strong(VERSION.clone());
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    // An address without the version, or with an old one, must be revalidated.
    let keep = if request.query_string() == format!("v={}", *VERSION) {
        "public, max-age=31536000, immutable"
    } else {
        "public, no-cache"
    };
    let mut answer = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    answer
        .insert_header(ETag(tag))
        .insert_header((header::CACHE_CONTROL, keep));
    if known {
        answer.finish()
    } else {
        answer.content_type(content_type).body(content)
    }
}
