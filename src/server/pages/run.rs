//! `GET /runs/{id}`: the state of one run, its changes, and every purge with its reason.

mod changes;
mod purges;
mod statuses;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use jiff::Timestamp;

use self::changes::{Changes, CommitLink};
use self::purges::{Progress, PurgeRow, Waits, bytes};
use self::statuses::StatusRow;
use super::super::answer_slots::busy;
use super::super::run_page::{self, ChangedFiles, fitting};
use super::super::view::{Badge, Moment, duration, ref_name};
use super::super::{Shared, query};
use super::{Frame, message, render, store_failed};
use crate::config::Config;
use crate::engine::{Engine, UnavailableUpstream};
use crate::forge::{Headline, headline};
use crate::purge::Purge;
use crate::run::{Run, RunId, RunState};
use crate::store::{CdnCount, Store, StoreError, StoredBody, StoredStatus};

/// Purges on the page; the API has all of them.
const MOST_PURGES: u32 = 500;
/// Changed files on the page; the API has all of them.
const FIRST_FILES: run_page::RunPage = run_page::RunPage {
    skip: 0,
    limit: 1_000,
};
/// Bytes of a delivery that are searched for the commit's message.
const MAX_BODY: usize = 1024 * 1024;
/// Seconds between reloads of a pending run.
const REFRESH: u32 = 2;

/// The page's data from the store.
struct Found {
    run: Run,
    files: ChangedFiles,
    counts: Vec<CdnCount>,
    purges: Vec<Purge>,
    /// How many purges failed for each reason.
    reasons: BTreeMap<String, u64>,
    statuses: Vec<StoredStatus>,
    headline: Option<Headline>,
    unavailable: Vec<UnavailableUpstream>,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    frame: Frame,
    run: Run,
    /// The commit's title and author.
    headline: Option<Headline>,
    state: Badge,
    short: String,
    ref_name: String,
    created: Moment,
    ended: Option<Moment>,
    deadline: Moment,
    took: String,
    can_be_retried: bool,
    /// The forge's pages for the run's commit and for its difference from the previous one.
    commit: Option<CommitLink>,
    comparison: Option<String>,
    repository: Option<String>,
    changes: Changes,
    purges_counted: String,
    cdns: Vec<Progress>,
    purges: Vec<PurgeRow>,
    more_purges: bool,
    statuses: Vec<StatusRow>,
    /// Whether the forge refused the newest of them.
    is_refused: bool,
}

pub(in super::super) async fn run(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let asked = request.match_info().get("id").unwrap_or_default();
    let found = match query::run_id(asked) {
        Some(id) => {
            let Some(turn) = shared.answers.large_read().await else {
                return busy();
            };
            let finding = |engine| async move {
                let found = find(engine, id).await;
                drop(turn);
                found
            };
            shared.ask(finding).await
        }
        None => Ok(None),
    };
    match found {
        Ok(Some(found)) => {
            let engine = &shared.engine;
            render(
                &page(&request, found, &engine.config(), engine.now()),
                StatusCode::OK,
            )
        }
        Ok(None) => message(
            &request,
            StatusCode::NOT_FOUND,
            "No such run",
            "There is no run at this address. It may have ended so long ago that it was removed (`server.retention`), or the link is incomplete.",
        ),
        Err(error) => store_failed(&request, &error),
    }
}

async fn find(engine: Arc<Engine>, id: RunId) -> Result<Option<Found>, StoreError> {
    let store = engine.store();
    let Some(run) = store.run(&id).await? else {
        return Ok(None);
    };
    let headline = headline_of(store, &run).await?;
    Ok(Some(Found {
        run,
        files: ChangedFiles::read(store, &id, FIRST_FILES).await?,
        counts: store.purge_counts_by_cdn(&id).await?,
        purges: store.purges_to_show(&id, MOST_PURGES).await?,
        reasons: store.failure_reasons(&id, MOST_PURGES).await?,
        statuses: store.statuses(&id).await?,
        unavailable: engine.unavailable_upstreams().await?,
        headline,
    }))
}

/// The title and author of the run's commit, from its delivery.
async fn headline_of(store: &Store, run: &Run) -> Result<Option<Headline>, StoreError> {
    let (Some(delivery), Some(commit)) = (&run.delivery, run.commit.id()) else {
        return Ok(None);
    };
    let delivery = store.delivery(delivery).await?;
    Ok(delivery.and_then(|delivery| match &delivery.body {
        StoredBody::Whole(body) if body.len() <= MAX_BODY => {
            headline(&delivery.content_type, body, commit)
        }
        StoredBody::Whole(_) | StoredBody::InBlocks { .. } => None,
    }))
}

fn page(request: &HttpRequest, found: Found, config: &Config, now: Timestamp) -> RunPage {
    let Found {
        run,
        files,
        counts,
        mut purges,
        reasons,
        statuses,
        headline,
        unavailable,
    } = found;
    let waits = Waits::new(&run, unavailable, now);
    let total: u64 = counts.iter().map(|count| count.count).sum();
    let pages = config
        .forges
        .get(&run.forge)
        .and_then(|forge| forge.pages());
    let commit = run.commit.id();
    let comparison = pages.zip(run.before.as_ref()).zip(commit);
    purges.truncate(fitting(purges.iter().map(bytes)));
    let refresh = (run.state == RunState::Pending).then_some(REFRESH);
    RunPage {
        frame: Frame::new(request, refresh),
        headline,
        state: run.state.into(),
        short: run.commit.short().to_owned(),
        ref_name: ref_name(run.git_ref.as_ref()).to_owned(),
        created: run.created_at.into(),
        ended: run.ended_at.map(Moment::from),
        deadline: run.deadline.into(),
        took: duration(run.created_at, run.ended_at.unwrap_or(now)),
        can_be_retried: run.state.can_be_retried(),
        commit: commit.map(|commit| CommitLink::new(&run, commit, pages)),
        comparison: comparison
            .map(|((pages, before), commit)| pages.comparison(&run.repo, before, commit)),
        repository: pages.map(|pages| pages.repository(&run.repo)),
        changes: Changes::new(&run, files, pages),
        purges_counted: purges::counted_by_kind(&counts),
        cdns: purges::progress(&counts, &waits),
        more_purges: total > number(purges.len()),
        purges: purges::rows(purges, &reasons, &waits),
        is_refused: statuses.last().is_some_and(|status| status.refused),
        statuses: statuses::rows(&run, statuses),
        run,
    }
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
