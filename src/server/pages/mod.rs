//! The pages: the dashboard and one page per run. All work without scripts.

mod dashboard;
mod run;

pub(super) use dashboard::dashboard;
pub(super) use run::run;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use tracing::error;

use super::answer::RETRY_AFTER;
use super::assets;
use crate::sanitize::visible_lines;
use crate::store::StoreError;

/// Common parts of every page: its relative root, and how often it reloads.
struct Frame {
    /// The path from the page's address to the root: pages work behind any prefix that a proxy adds.
    root: String,
    /// The version of the style sheet's content.
    version: &'static str,
    /// Seconds until the page loads itself again.
    refresh: Option<u32>,
}

impl Frame {
    fn new(request: &HttpRequest, refresh: Option<u32>) -> Self {
        let depth = request.path().matches('/').count().saturating_sub(1);
        let root = if depth == 0 {
            "./".to_owned()
        } else {
            // No page of ours is deeper; a deeper address is a mistake.
            "../".repeat(depth.min(16))
        };
        Self {
            root,
            version: &assets::VERSION,
            refresh,
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    frame: Frame,
    title: &'a str,
    words: &'a str,
}

/// A page with only a message.
pub(super) fn message(
    request: &HttpRequest,
    status: StatusCode,
    title: &str,
    words: &str,
) -> HttpResponse {
    let page = Message {
        frame: Frame::new(request, None),
        title,
        words,
    };
    render(&page, status)
}

fn store_failed(request: &HttpRequest, error: &StoreError) -> HttpResponse {
    error!("a page met a store out of order: {error}");
    let mut answer = message(
        request,
        StatusCode::SERVICE_UNAVAILABLE,
        "Out of order",
        &format!(
            "The database cannot be read at the moment: {}. Try again in a few seconds; the log says more.",
            error.in_short()
        ),
    );
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    answer
}

fn render(page: &impl Template, status: StatusCode) -> HttpResponse {
    match page.render() {
        // Even escaped, a name can change the writing direction of the text around it.
        Ok(html) => HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .body(visible_lines(&html).into_owned()),
        Err(error) => {
            error!("a page cannot be written down: {error}");
            HttpResponse::InternalServerError()
                .content_type("text/plain; charset=utf-8")
                .body("the page cannot be shown; the log says why\n")
        }
    }
}
