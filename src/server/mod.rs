//! The HTTP side: webhooks, pages, API, health and metrics.
//!
//! Handlers are thin: a webhook goes to [`Engine::receive`], and everything else reads the store. Both run on the
//! runtime that called [`start`], never on the server's own threads: these keep accepting requests, and a database
//! connection must not belong to a thread that stops before the engine does.

mod answer;
mod answer_slots;
mod api;
mod assets;
mod body;
mod body_budget;
mod connection;
mod descriptors;
mod guesses;
mod health;
mod hooks;
mod listener;
mod metrics;
mod pages;
mod patience;
mod query;
mod read_access;
mod refusal_log;
mod retry;
mod run_page;
mod shares;
#[cfg(test)]
mod tests;
mod trace;
mod view;

pub(crate) use api::{PurgeItem, RunHead, StatusItem};
pub use descriptors::raise_file_limit;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

use self::answer_slots::AnswerSlots;
use self::body_budget::BodyBudget;
use self::guesses::Guesses;
use self::refusal_log::RefusalLog;
use crate::config::{Config, Reloads};
use crate::engine::Engine;
use crate::run::RunId;
use crate::store::StoreError;

/// The addresses of webhooks and of retries, which the log tells apart from others.
const HOOK: &str = "/hooks/{forge}";
const HOOK_WITH_SLASH: &str = "/hooks/{forge}/";
const RETRY: &str = "/api/v1/runs/{id}/retry";

/// The server's limits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a webhook's body. Default: 25 MiB; GitHub and GitLab send at most 25 MB (GitHub, "Webhook events
    /// and payloads", payload cap; GitLab, "Webhooks", payload size).
    pub body: usize,
    /// Bytes of all bodies in memory; tiny ones have a quarter more. Default: 32 MiB.
    pub in_memory: usize,
    /// Bytes of all bodies on disk. Default: 2 GiB.
    pub on_disk: usize,
    /// How long a body may wait for disk space in all before it is rejected. Default: 6 s, so that the forge still reads
    /// the response.
    pub disk_wait: Duration,
    /// How long this server may wait for a sender until a body is complete. Default: 10 s, after which GitHub and GitLab
    /// give up.
    pub body_time: Duration,
    /// How long a body may take to arrive if this server itself is what takes so long. Default: 60 s.
    pub body_work: Duration,
    /// How long a body may stall, or arrive more slowly than 16 kB a second. Default: 3 s.
    pub body_stall: Duration,
    /// How long a request's headers may take to arrive. Default: 5 s.
    pub head_time: Duration,
    /// How long to wait for a client that does not read its response. Default: 30 s.
    pub unread_time: Duration,
    /// How long an idle connection stays open. Default: 30 s.
    pub keep_alive: Duration,
    /// How long a write check of the store may take. Default: 2 s.
    pub probe_time: Duration,
    /// How long `/readyz` returns 503 before the sockets close, so that a load balancer can notice. Default: 1 s.
    pub drain: Duration,
    /// How long running requests may take after that. Default: 15 s, in whole seconds.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 25 * 1024 * 1024,
            in_memory: 32 * 1024 * 1024,
            on_disk: 2 * 1024 * 1024 * 1024,
            disk_wait: Duration::from_secs(6),
            body_time: Duration::from_secs(10),
            body_work: Duration::from_secs(60),
            body_stall: Duration::from_secs(3),
            head_time: Duration::from_secs(5),
            unread_time: Duration::from_secs(30),
            keep_alive: Duration::from_secs(30),
            probe_time: Duration::from_secs(2),
            drain: Duration::from_secs(1),
            stop: Duration::from_secs(15),
        }
    }
}

/// A running server.
pub struct Running {
    addresses: Vec<SocketAddr>,
    handle: ServerHandle,
    serving: JoinHandle<io::Result<()>>,
}

impl Running {
    /// The addresses it listens on, with the actual port if port 0 was requested.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting requests, and returns when the running ones have finished.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stop(true).await;
        self.stopped().await
    }

    /// Waits until the server has stopped, for whatever reason.
    pub async fn stopped(self) -> io::Result<()> {
        self.serving.await.map_err(io::Error::other)?
    }
}

/// The state that all handlers share.
struct Shared {
    engine: Arc<Engine>,
    limits: Limits,
    metrics: metrics::Metrics,
    probe: health::Probe,
    /// The runtime of the engine and its store.
    runtime: Handle,
    /// Memory and disk space for bodies.
    budget: BodyBudget,
    /// Slots for large responses.
    answers: AnswerSlots,
    /// Wrong admin tokens.
    guesses: Guesses,
    /// Wrong read tokens.
    read_guesses: Guesses,
    refusals: RefusalLog,
    stop: watch::Receiver<bool>,
    /// The history of the rules file.
    reloads: watch::Receiver<Reloads>,
}

impl Shared {
    /// Uses the engine or its store on their own runtime.
    async fn ask<T, F>(&self, question: impl FnOnce(Arc<Engine>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let asked = self.runtime.spawn(question(Arc::clone(&self.engine)));
        asked.await.unwrap_or_else(|cut_off| {
            error!("a request's work was cut off: {cut_off}");
            Err(StoreError::unreachable("the work was cut off".to_owned()))
        })
    }

    fn is_draining(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Starts serving on `listen` (`host:port`), inside a Tokio runtime, until `stop` turns true. The pages show
/// `reloads`.
///
/// Fails if the address cannot be resolved or bound.
pub fn start(
    engine: Arc<Engine>,
    listen: &str,
    reloads: watch::Receiver<Reloads>,
    stop: watch::Receiver<bool>,
) -> io::Result<Running> {
    serve(engine, listen, Limits::default(), reloads, stop)
}

/// Like [`start`], with other limits and without reloads.
pub fn start_with(
    engine: Arc<Engine>,
    listen: &str,
    limits: Limits,
    stop: watch::Receiver<bool>,
) -> io::Result<Running> {
    let (_, reloads) = watch::channel(Reloads::default());
    serve(engine, listen, limits, reloads, stop)
}

fn serve(
    engine: Arc<Engine>,
    listen: &str,
    limits: Limits,
    reloads: watch::Receiver<Reloads>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<Running> {
    let shared = web::Data::new(Shared {
        engine,
        metrics: metrics::Metrics::default(),
        probe: health::Probe::default(),
        runtime: Handle::current(),
        budget: BodyBudget::new(limits.in_memory, limits.on_disk, limits.body),
        answers: AnswerSlots::new(),
        guesses: Guesses::new(),
        read_guesses: Guesses::new(),
        refusals: RefusalLog::default(),
        stop: stop.clone(),
        reloads,
        limits: limits.clone(),
    });
    let (server, addresses) = listener::start(&shared, listen)?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    let closing = handle.clone();
    tokio::spawn(async move {
        // A dropped sender also means "stop".
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(limits.drain).await;
        closing.stop(true).await;
    });
    Ok(Running {
        addresses,
        handle,
        serving,
    })
}

fn routes(app: &mut web::ServiceConfig) {
    app.service(web::resource([HOOK, HOOK_WITH_SLASH]).to(hooks::receive))
        .service(
            answer::readable("/", pages::dashboard)
                .wrap(from_fn(answer_slots::limit))
                .wrap(from_fn(read_access::check)),
        )
        .service(
            answer::readable("/runs/{id}", pages::run)
                .wrap(from_fn(answer_slots::limit))
                .wrap(from_fn(read_access::check)),
        )
        .service(
            answer::readable("/api/v1/runs", api::runs)
                .wrap(from_fn(answer_slots::limit))
                .wrap(from_fn(read_access::check)),
        )
        .service(
            answer::readable("/api/v1/runs/{id}", api::run)
                .wrap(from_fn(answer_slots::limit))
                .wrap(from_fn(read_access::check)),
        )
        .service(
            web::resource(RETRY)
                .route(web::post().to(retry::retry))
                .default_service(web::to(|| answer::method_not_allowed("POST"))),
        )
        .service(answer::readable("/healthz", health::alive))
        .service(answer::readable("/readyz", health::ready))
        .service(
            answer::readable("/metrics", metrics::scrape)
                .wrap(from_fn(answer_slots::limit))
                .wrap(from_fn(read_access::check)),
        )
        .service(answer::readable(assets::STYLE_PATH, assets::style))
        .service(answer::readable(assets::ICON_PATH, assets::icon))
        .default_service(web::to(not_found));
}

/// A run's page: an absolute address if the public address is configured.
fn run_url(config: &Config, id: &RunId) -> String {
    let root = config
        .server
        .public_url
        .as_ref()
        .map_or("", |url| url.as_str().trim_end_matches('/'));
    format!("{root}/runs/{id}")
}

/// 404: as JSON for programs, as plain text for forges, as a page for people.
async fn not_found(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let path = request.path();
    // The forge shows it on its page of deliveries to the person who set up the webhook.
    let words = format!(
        "there is nothing at this address; webhooks are sent to {}",
        hooks::address_near(&shared.engine.config(), path)
    );
    if path.starts_with("/api/") {
        answer::refused(StatusCode::NOT_FOUND, "there is nothing at this address")
    } else if path.starts_with("/hooks/") {
        answer::refused(StatusCode::NOT_FOUND, words)
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        HttpResponse::NotFound()
            .content_type("text/plain; charset=utf-8")
            .body(words + "\n")
    } else {
        pages::message(
            &request,
            StatusCode::NOT_FOUND,
            "Nothing here",
            "There is no page at this address.",
        )
    }
}
