//! `GET /metrics`: counters since the start, and gauges read from the store for each request.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use strum::VariantArray;
use tracing::error;

use super::Shared;
use crate::config::{Config, Reloads};
use crate::engine::DeniedSite;
use crate::forge::Denial;
use crate::purge::PurgeKind;
use crate::run::RunState;
use crate::store::{PendingPurges, Removed, Store, StoreError, Upstream};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeliveryLabels {
    forge: String,
    outcome: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AnswerLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RunLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PurgeLabels {
    cdn: String,
    kind: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DryRunLabels {
    cdn: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RemovedLabels {
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpstreamLabels {
    kind: &'static str,
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SiteLabels {
    site: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DenialLabels {
    site: String,
    forge: String,
    denial: &'static str,
}

/// Counters of this process.
pub(super) struct Metrics {
    registry: Registry,
    deliveries: Family<DeliveryLabels, Counter>,
    answers: Family<AnswerLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("purgehook");
        let deliveries = Family::default();
        registry.register(
            "deliveries",
            "Webhook requests for a configured forge, by what became of them",
            deliveries.clone(),
        );
        let answers = Family::default();
        registry.register("http_answers", "HTTP answers", answers.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program that answers", build);
        Self {
            registry,
            deliveries,
            answers,
        }
    }
}

impl Metrics {
    /// Counts a webhook request. `forge` is a configured name, never arbitrary input.
    pub(super) fn delivered(&self, forge: &str, outcome: &'static str, status: StatusCode) {
        self.deliveries
            .get_or_create(&DeliveryLabels {
                forge: forge.to_owned(),
                outcome,
                status: status.as_u16(),
            })
            .inc();
    }

    /// Counts a response. `route` is a pattern, never arbitrary input.
    pub(super) fn answered(&self, route: &str, status: StatusCode) {
        self.answers
            .get_or_create(&AnswerLabels {
                route: route.to_owned(),
                status: status.as_u16(),
            })
            .inc();
    }
}

/// The current state of runs and purges.
struct Figures {
    runs: Vec<(RunState, u64)>,
    purges: Vec<PendingPurges>,
    dry_run_purges: Vec<(String, PurgeKind, u64)>,
    silent: Vec<Upstream>,
    denied: Vec<DeniedSite>,
}

/// All metrics; those from the store are missing if it does not answer.
fn registry(
    figures: Option<Figures>,
    config: &Config,
    reloads: &Reloads,
    removed: Removed,
) -> Registry {
    let mut registry = Registry::with_prefix("purgehook");
    let up = Gauge::<i64>::default();
    up.set(i64::from(figures.is_some()));
    registry.register("store_up", "Whether the store answers", up);
    add_reloads(&mut registry, reloads);
    add_removed(&mut registry, removed);
    let sites = Family::<SiteLabels, Gauge>::default();
    for site in config.sites.values() {
        let labels = SiteLabels {
            site: site.name.clone(),
        };
        sites
            .get_or_create(&labels)
            .set(i64::from(site.mode.is_dry_run()));
    }
    registry.register(
        "site_dry_run",
        "Whether a site is in dry-run mode: nothing of it is purged",
        sites,
    );
    if let Some(Figures {
        runs,
        purges,
        dry_run_purges,
        silent,
        denied,
    }) = figures
    {
        add_upstreams(&mut registry, config, &silent);
        add_denials(&mut registry, config, &denied);
        add(&mut registry, &runs, &purges);
        let by_kind = Family::<DryRunLabels, Gauge>::default();
        for (cdn, kind, count) in dry_run_purges {
            let kind = kind.as_str();
            by_kind
                .get_or_create(&DryRunLabels { cdn, kind })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        registry.register(
            "dry_run_purges",
            "Purges that dry runs would have made",
            by_kind,
        );
    }
    registry
}

/// The upstreams whose circuits are open.
async fn silent(store: &Store) -> Result<Vec<Upstream>, StoreError> {
    let outages = store.circuits().await?.into_iter();
    let left_alone = outages.filter(|outage| outage.until.is_some());
    Ok(left_alone.map(|outage| outage.upstream).collect())
}

fn add_upstreams(registry: &mut Registry, config: &Config, silent: &[Upstream]) {
    let up = Family::<UpstreamLabels, Gauge>::default();
    let set = |kind, name: &str, upstream| {
        let name = name.to_owned();
        up.get_or_create(&UpstreamLabels { kind, name })
            .set(i64::from(!silent.contains(&upstream)));
    };
    for (name, cdn) in &config.cdns {
        set("cdn", name, Upstream::Cdn(cdn.account()));
    }
    for name in config.forges.keys() {
        set("forge", name, Upstream::Forge(name.clone()));
    }
    registry.register(
        "upstream_up",
        "Whether a CDN or a forge answers; after several requests in a row without an answer, it gets none for a while",
        up.clone(),
    );
}

fn add_denials(registry: &mut Registry, config: &Config, denied: &[DeniedSite]) {
    let by_site = Family::<DenialLabels, Gauge>::default();
    for site in config.sites.values() {
        for &denial in Denial::VARIANTS {
            let is_denied =
                |denied: &DeniedSite| denied.site == site.name && denied.denial == denial;
            let labels = DenialLabels {
                site: site.name.clone(),
                forge: site.forge.clone(),
                denial: denial.as_str(),
            };
            by_site
                .get_or_create(&labels)
                .set(i64::from(denied.iter().any(is_denied)));
        }
    }
    registry.register(
        "site_denied",
        "Whether a forge denies requests about a site's repository until a person changes the token, its permissions \
         or the repository's name",
        by_site,
    );
}

fn add_removed(registry: &mut Registry, removed: Removed) {
    let Removed {
        runs,
        deliveries,
        purges,
        tasks,
    } = removed;
    let by_what = Family::<RemovedLabels, Counter>::default();
    for (what, count) in [
        ("run", runs),
        ("delivery", deliveries),
        ("purge", purges),
        ("task", tasks),
    ] {
        by_what.get_or_create(&RemovedLabels { what }).inc_by(count);
    }
    registry.register(
        "removed",
        "What this process removed for its age (`server.retention`)",
        by_what,
    );
}

fn add_reloads(registry: &mut Registry, reloads: &Reloads) {
    let good = Gauge::<i64>::default();
    good.set(i64::from(reloads.refused.is_none()));
    registry.register(
        "rules_last_reload_successful",
        "Whether the rules file on disk is in force",
        good,
    );
    let since = Gauge::<i64>::default();
    since.set(reloads.in_force_since.map_or(0, |since| since.as_second()));
    registry.register(
        "rules_in_force_since_seconds",
        "When the rules in force were read, in seconds since 1970",
        since,
    );
    let by_outcome = Family::<ReloadLabels, Counter>::default();
    for (outcome, count) in [
        ("taken_up", reloads.taken_up),
        ("refused", reloads.refusals),
    ] {
        by_outcome
            .get_or_create(&ReloadLabels { outcome })
            .inc_by(count);
    }
    registry.register(
        "rules_reloads",
        "Rules files that were read after the start, by what became of them",
        by_outcome,
    );
}

fn add(registry: &mut Registry, runs: &[(RunState, u64)], purges: &[PendingPurges]) {
    let by_state = Family::<RunLabels, Gauge>::default();
    for &state in RunState::VARIANTS {
        let count = runs
            .iter()
            .find(|(of, _)| *of == state)
            .map_or(0, |(_, n)| *n);
        let state = state.as_str();
        by_state
            .get_or_create(&RunLabels { state })
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("runs", "Runs that are kept, by state", by_state);
    let pending = Family::<PurgeLabels, Gauge>::default();
    for purges in purges {
        pending
            .get_or_create(&PurgeLabels {
                cdn: purges.cdn.clone(),
                kind: purges.kind.as_str(),
                state: purges.state.as_str(),
            })
            .set(i64::try_from(purges.count).unwrap_or(i64::MAX));
    }
    registry.register("pending_purges", "Purges of pending runs", pending);
}

fn text(counted: &Registry, read: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode_registry(&mut text, counted)?;
    encode_registry(&mut text, read)?;
    encode_eof(&mut text)?;
    Ok(text)
}

pub(super) async fn scrape(shared: Data<Shared>) -> HttpResponse {
    let read = shared
        .ask(|engine| async move {
            let store = engine.store();
            Ok(Figures {
                runs: store.run_counts().await?,
                purges: store.pending_purges().await?,
                dry_run_purges: store.dry_run_purges().await?,
                silent: silent(store).await?,
                denied: engine.denied_sites().await?,
            })
        })
        .await;
    let figures = match read {
        Ok(figures) => Some(figures),
        Err(error) => {
            error!("the figures cannot be read: {error}");
            None
        }
    };
    match text(
        &shared.metrics.registry,
        &registry(
            figures,
            &shared.engine.config(),
            &shared.reloads.borrow(),
            shared.engine.removed(),
        ),
    ) {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
            .body(text),
        Err(error) => {
            error!("the metrics cannot be written down: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}
