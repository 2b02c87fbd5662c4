//! `GET /`: the sites and their runs, newest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use jiff::Timestamp;
use url::form_urlencoded::Serializer;

use super::super::view::{Badge, Moment, duration, ref_name};
use super::super::{Shared, query};
use super::{Frame, message, render, store_failed};
use crate::config::{Refused, Reloads};
use crate::engine::{DeniedSite, Engine, UnavailableUpstream};
use crate::rules::Glob;
use crate::run::{Run, RunId, RunState};
use crate::settings::Problem;
use crate::store::{RunFilter, StoreError};

/// Seconds between reloads while something is in progress, and otherwise.
const REFRESH: (u32, u32) = (2, 15);
/// Problems of a rules file shown on the page; the log has all of them.
const MOST_PROBLEMS: usize = 20;

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    frame: Frame,
    /// Whether the whole server is in dry-run mode.
    dry_run: bool,
    /// Why deliveries cannot be accepted.
    trouble: Option<&'static str>,
    /// Upstreams whose circuits are open.
    silent: Vec<SilentRow>,
    /// Why the rules file on disk is not in use.
    refused: Option<RefusedRules>,
    /// Settings that take effect only after a restart.
    after_restart: Vec<&'static str>,
    sites: Vec<SiteCard>,
    runs: Vec<RunRow>,
    /// The filter of the list, in words.
    narrowed: Option<String>,
    older: Option<String>,
    /// Whether this is a later page.
    is_older: bool,
    newest: String,
}

/// An upstream that does not answer.
struct SilentRow {
    who: String,
    since: Moment,
    until: Moment,
    error: String,
}

impl From<UnavailableUpstream> for SilentRow {
    fn from(silent: UnavailableUpstream) -> Self {
        Self {
            who: silent.name,
            since: silent.since.into(),
            until: silent.until.into(),
            error: silent.error,
        }
    }
}

/// A rejected rules file.
struct RefusedRules {
    since: Moment,
    in_force_since: Option<Moment>,
    /// Position, message and advice.
    problems: Vec<(Option<String>, String, Option<String>)>,
    more: usize,
}

impl RefusedRules {
    fn new(reloads: &Reloads) -> Option<Self> {
        let Refused { since, problems } = reloads.refused.as_ref()?;
        let place = |problem: &Problem| {
            let (line, column) = problem.line.zip(problem.column)?;
            Some(format!("line {line}, column {column}"))
        };
        let shown = problems.iter().take(MOST_PROBLEMS);
        Some(Self {
            since: (*since).into(),
            in_force_since: reloads.in_force_since.map(Moment::from),
            problems: shown
                .map(|problem| {
                    let advice = problem.advice.clone();
                    (place(problem), problem.message.clone(), advice)
                })
                .collect(),
            more: problems.len().saturating_sub(MOST_PROBLEMS),
        })
    }
}

struct SiteCard {
    name: String,
    query: String,
    repo: String,
    branches: String,
    cdns: String,
    /// Whether it is in dry-run mode.
    dry_run: bool,
    /// What the forge denies until a person changes something.
    denied: Vec<DeniedRow>,
    /// A note if its repository was renamed.
    renamed: Option<String>,
    last: Option<RunRow>,
}

/// A denial of a forge.
struct DeniedRow {
    what: String,
    since: Moment,
    error: String,
}

impl From<&DeniedSite> for DeniedRow {
    fn from(denied: &DeniedSite) -> Self {
        Self {
            what: denied.sentence(),
            since: denied.since.into(),
            error: denied.error.clone(),
        }
    }
}

struct RunRow {
    id: String,
    site: String,
    state: Badge,
    /// Whether it was a dry run.
    dry_run: bool,
    summary: String,
    ref_name: String,
    commit: String,
    short: String,
    created: Moment,
    took: String,
}

impl RunRow {
    fn new(run: &Run, now: Timestamp) -> Self {
        Self {
            id: run.id.to_string(),
            site: run.site.clone(),
            state: run.state.into(),
            dry_run: run.dry_run,
            summary: run.summary.clone(),
            ref_name: ref_name(run.git_ref.as_ref()).to_owned(),
            commit: run.commit.to_string(),
            short: run.commit.short().to_owned(),
            created: run.created_at.into(),
            took: duration(run.created_at, run.ended_at.unwrap_or(now)),
        }
    }
}

/// The page's data from the store.
struct Found {
    last: Vec<Option<Run>>,
    runs: Vec<Run>,
    next: Option<RunId>,
    silent: Vec<UnavailableUpstream>,
    denied: Vec<DeniedSite>,
    renamed: BTreeMap<String, String>,
}

pub(in super::super) async fn dashboard(
    request: HttpRequest,
    shared: Data<Shared>,
) -> HttpResponse {
    let filter = match query::read(request.query_string()) {
        Ok(filter) => filter,
        Err(words) => {
            return message(
                &request,
                StatusCode::BAD_REQUEST,
                "That cannot be shown",
                &format!("The address contains an invalid query: {words}."),
            );
        }
    };
    let asked = filter.clone();
    match shared.ask(|engine| find(engine, asked)).await {
        Ok(found) => {
            let trouble = shared.store_trouble().await;
            let page = page(&request, &shared, &filter, found, trouble);
            render(&page, StatusCode::OK)
        }
        Err(error) => store_failed(&request, &error),
    }
}

async fn find(engine: Arc<Engine>, filter: RunFilter) -> Result<Found, StoreError> {
    let config = engine.config();
    let mut last = Vec::with_capacity(config.sites.len());
    for site in config.sites.keys() {
        let newest = RunFilter {
            site: Some(site.clone()),
            limit: 1,
            ..RunFilter::default()
        };
        last.push(engine.store().runs(&newest).await?.into_iter().next());
    }
    let (runs, next) = query::page(engine.store(), &filter).await?;
    let silent = engine.unavailable_upstreams().await?;
    let denied = engine.denied_sites().await?;
    let renamed = engine.renamed_sites().await?.into_iter().collect();
    Ok(Found {
        last,
        runs,
        next,
        silent,
        denied,
        renamed,
    })
}

fn page(
    request: &HttpRequest,
    shared: &Shared,
    filter: &RunFilter,
    found: Found,
    trouble: Option<&'static str>,
) -> Dashboard {
    let engine = &shared.engine;
    let reloads = shared.reloads.borrow();
    let now = engine.now();
    let busy = found
        .runs
        .iter()
        .chain(found.last.iter().flatten())
        .any(|run| run.state == RunState::Pending);
    let refresh = if busy { REFRESH.0 } else { REFRESH.1 };
    let config = engine.config();
    let sites = config
        .sites
        .values()
        .zip(found.last)
        .map(|(site, last)| SiteCard {
            name: site.name.clone(),
            query: narrowing(&RunFilter {
                site: Some(site.name.clone()),
                ..RunFilter::default()
            }),
            repo: format!("{}:{}", site.forge, site.repo),
            branches: joined(site.branches.iter().map(|glob: &Glob| glob.text())),
            cdns: joined(site.cdns.iter().map(String::as_str)),
            dry_run: site.mode.is_dry_run(),
            denied: found
                .denied
                .iter()
                .filter(|denied| denied.site == site.name)
                .map(DeniedRow::from)
                .collect(),
            renamed: found.renamed.get(&site.name).cloned(),
            last: last.map(|run| RunRow::new(&run, now)),
        })
        .collect();
    Dashboard {
        // A later page is read, not watched.
        frame: Frame::new(request, filter.before.is_none().then_some(refresh)),
        dry_run: config.server.dry_run,
        trouble,
        silent: found.silent.into_iter().map(SilentRow::from).collect(),
        refused: RefusedRules::new(&reloads),
        after_restart: reloads.after_restart.clone(),
        sites,
        runs: found.runs.iter().map(|run| RunRow::new(run, now)).collect(),
        narrowed: in_words(filter),
        older: found.next.map(|next| {
            narrowing(&RunFilter {
                before: Some(next),
                ..filter.clone()
            })
        }),
        is_older: filter.before.is_some(),
        newest: narrowing(&RunFilter {
            before: None,
            ..filter.clone()
        }),
    }
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// A filter as a query, without the limit.
fn narrowing(filter: &RunFilter) -> String {
    let mut query = Serializer::new(String::new());
    if let Some(site) = &filter.site {
        query.append_pair("site", site);
    }
    if let Some(state) = filter.state {
        query.append_pair("state", state.as_str());
    }
    if let Some(commit) = &filter.commit {
        query.append_pair("commit", commit.as_str());
    }
    if let Some(before) = &filter.before {
        query.append_pair("cursor", &before.0);
    }
    query.finish()
}

fn in_words(filter: &RunFilter) -> Option<String> {
    let mut words = Vec::new();
    if let Some(site) = &filter.site {
        words.push(format!("of {site}"));
    }
    if let Some(state) = filter.state {
        words.push(format!("that are {}", state.as_str()));
    }
    if let Some(commit) = &filter.commit {
        words.push(format!("at commit {}", commit.short()));
    }
    (!words.is_empty()).then(|| words.join(" "))
}
