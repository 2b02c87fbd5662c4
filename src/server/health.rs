//! Health checks: whether the process is alive, and whether it can accept deliveries.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{Shared, read_access};
use crate::clock::MAX_MACHINE_DIFFERENCE;
use crate::engine::DeniedSite;

/// How long a check of the store is reused: frequent requests must not keep its disk busy.
const FRESH: Duration = Duration::from_secs(1);

/// How often the log repeats an ongoing problem of the store.
const REPEAT: Duration = Duration::from_secs(60);

/// The state of each part: `ok`, or the problem.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    store: String,
    rules: &'static str,
    serving: &'static str,
    /// What forges deny until a person changes something. Does not affect readiness.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denied: Vec<DenialReport>,
    /// Whether the rules file on disk is in use. Does not affect readiness.
    reload: &'static str,
    /// Whether this machine's clock agrees with the database's. Does not affect readiness.
    clock: String,
}

/// The text about a machine's clock that is ahead by this much.
fn clock_in_words(ahead: SignedDuration) -> String {
    if ahead.abs() <= MAX_MACHINE_DIFFERENCE {
        return "ok".to_owned();
    }
    let seconds = ahead.abs().as_secs();
    let side = if ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    format!("this machine's clock is {seconds} s {side} the database's, which counts")
}

/// What a forge denies of a site's repository.
#[derive(Serialize)]
struct DenialReport {
    /// Only for clients with read access.
    #[serde(flatten)]
    subject: Option<DeniedSubject>,
    access: &'static str,
    denial: &'static str,
    since: String,
}

#[derive(Serialize)]
struct DeniedSubject {
    site: String,
    forge: String,
    repo: String,
    error: String,
}

impl DenialReport {
    fn new(denied: DeniedSite, may_read: bool) -> Self {
        Self {
            access: denied.access.as_str(),
            denial: denied.denial.as_str(),
            since: denied.since.to_string(),
            subject: may_read.then_some(DeniedSubject {
                site: denied.site,
                forge: denied.forge,
                repo: denied.repo,
                error: denied.error,
            }),
        }
    }
}

/// The result of the last check of the store. One request checks at a time, and the others reuse its result.
#[derive(Default)]
pub(super) struct Probe(Mutex<Option<Shown>>, Mutex<Option<ShownDenials>>);

/// The denials when the store was last asked.
struct ShownDenials {
    at: Timestamp,
    denied: Vec<DeniedSite>,
}

#[derive(Clone, Copy)]
struct Shown {
    at: Timestamp,
    /// Why it cannot be written to.
    wrong: Option<&'static str>,
    /// When the problem was last logged.
    told_at: Timestamp,
}

impl Shared {
    /// Why the store cannot be written to now; none if it can.
    pub(super) async fn store_trouble(&self) -> Option<&'static str> {
        let mut last = self.probe.0.lock().await;
        let now = self.engine.now();
        if let Some(shown) = *last
            && shown.at <= now
            && now < shown.at + FRESH
        {
            return shown.wrong;
        }
        let limit = self.limits.probe_time;
        let probe = self.ask(|engine| async move { engine.store().check_writable().await });
        let (wrong, words) = match tokio::time::timeout(limit, probe).await {
            Ok(Ok(())) => (None, String::new()),
            Ok(Err(error)) => (Some(error.in_short()), error.to_string()),
            Err(_) => (
                Some("it takes too long"),
                format!("the store took longer than {limit:?} to write a row"),
            ),
        };
        let at = self.engine.now();
        let told = last.filter(|shown| {
            shown.wrong == wrong && (shown.told_at..shown.told_at + REPEAT).contains(&at)
        });
        if told.is_none() && wrong.is_some() {
            warn!("not ready: {words}");
        } else if wrong.is_none() && last.is_some_and(|shown| shown.wrong.is_some()) {
            info!("the store can be written to again");
        }
        let told_at = told.map_or(at, |shown| shown.told_at);
        *last = Some(Shown { at, wrong, told_at });
        wrong
    }
}

impl Shared {
    /// The denials of sites' repositories; none if the store does not answer in time.
    async fn denied_sites(&self) -> Vec<DeniedSite> {
        let mut last = self.probe.1.lock().await;
        let now = self.engine.now();
        if let Some(shown) = last.as_ref()
            && shown.at <= now
            && now < shown.at + FRESH
        {
            return shown.denied.clone();
        }
        let asked = self.ask(|engine| async move { engine.denied_sites().await });
        let asked = tokio::time::timeout(self.limits.probe_time, asked).await;
        let denied = asked.ok().and_then(Result::ok).unwrap_or_default();
        let at = self.engine.now();
        *last = Some(ShownDenials {
            at,
            denied: denied.clone(),
        });
        denied
    }
}

/// `GET /healthz`: the process answers. Does not check the store: a restart would not help if the disk is full.
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// `GET /readyz`: whether a delivery could be accepted now.
pub(super) async fn ready(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let may_read = read_access::may_read(&shared, &request);
    let draining = shared.is_draining();
    let trouble = shared.store_trouble().await;
    // If the store cannot be written to, it is not asked for denials.
    let denied = match trouble {
        None => shared.denied_sites().await,
        Some(_) => Vec::new(),
    };
    let has_rules = !shared.engine.config().sites.is_empty();
    let ready = trouble.is_none() && has_rules && !draining;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).json(Readiness {
        ready,
        store: trouble.map_or_else(
            || "ok".to_owned(),
            |wrong| format!("cannot be written to: {wrong}"),
        ),
        rules: if has_rules { "ok" } else { "there is no site" },
        reload: if shared.reloads.borrow().refused.is_some() {
            "the rules file on disk is invalid; the previous rules stay in force"
        } else {
            "ok"
        },
        serving: if draining { "stopping" } else { "ok" },
        clock: clock_in_words(shared.engine.clock_ahead()),
        denied: denied
            .into_iter()
            .map(|denied| DenialReport::new(denied, may_read))
            .collect(),
    })
}
