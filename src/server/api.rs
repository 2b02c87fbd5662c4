//! Runs as JSON: `GET /api/v1/runs` and `GET /api/v1/runs/{id}`, both a page at a time.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::run_page::{ChangedFiles, RunPage, fitting};
use super::{Shared, answer, answer_slots, query, run_url};
use crate::changes::Completeness;
use crate::config::Config;
use crate::engine::Engine;
use crate::purge::{GivenUp, Mode, Purge};
use crate::run::{Link, Run, RunId};
use crate::store::{StoreError, StoredStatus};

#[derive(Serialize)]
struct RunList {
    runs: Vec<RunHead>,
    next: Option<String>,
}

/// A run in a list.
#[derive(Serialize)]
pub(crate) struct RunHead {
    id: String,
    site: String,
    repo: String,
    #[serde(rename = "ref")]
    git_ref: String,
    commit: String,
    before: Option<String>,
    state: &'static str,
    summary: String,
    problems: Vec<String>,
    notes: Vec<String>,
    mode: &'static str,
    created_at: String,
    ended_at: Option<String>,
    deadline: String,
    delivery: Option<String>,
    url: String,
    origin: &'static str,
    covered_by: Option<String>,
}

/// Everything about a run, with a page of its long lists.
#[derive(Serialize)]
struct OneRun {
    #[serde(flatten)]
    head: RunHead,
    changes: Changes,
    purges: Vec<PurgeItem>,
    statuses: Vec<StatusItem>,
    /// The cursor of the next page of `purges` and `changes.paths`; none on the last page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Changes {
    /// None before the change set was computed.
    proof: Option<&'static str>,
    /// The commits that caches may have held, or `unknown`.
    held: Vec<String>,
    /// The commits that changed the paths, newest first; empty if that is not known.
    by_commit: Vec<Brought>,
    /// The number of all paths.
    total: usize,
    /// In the order of `by_commit`.
    paths: Vec<String>,
}

/// The paths that one commit changed.
#[derive(Serialize)]
struct Brought {
    commit: String,
    /// The commit before it.
    since: String,
    proof: &'static str,
    /// The number of paths that no newer commit changed.
    total: usize,
}

impl From<Link> for Brought {
    fn from(link: Link) -> Self {
        let Link {
            from,
            to,
            proof,
            files,
        } = link;
        Self {
            commit: to.to_string(),
            since: from.to_string(),
            proof: proof.as_str(),
            total: files,
        }
    }
}

/// A purge.
#[derive(Serialize)]
pub(crate) struct PurgeItem {
    cdn: String,
    kind: &'static str,
    target: String,
    state: &'static str,
    task: Option<String>,
    error: Option<String>,
    /// `refused` or `skipped`: later runs leave the target out until it changes.
    given_up: Option<&'static str>,
    rule: String,
    path: Option<String>,
    mode: Option<&'static str>,
    attempts: i64,
}

/// A status.
#[derive(Serialize)]
pub(crate) struct StatusItem {
    state: &'static str,
    description: String,
    wanted_at: String,
    posted_at: Option<String>,
    /// Why the commit does not show it.
    error: Option<String>,
    /// Whether the forge refused it.
    refused: bool,
}

impl RunHead {
    pub(crate) fn new(config: &Config, run: Run) -> Self {
        let Run {
            id,
            site,
            forge,
            repo,
            git_ref,
            before,
            commit,
            delivery,
            origin,
            covered_by,
            bases: _,
            held_version: _,
            state,
            step: _,
            summary,
            proof: _,
            problems,
            notes,
            arrival: _,
            dry_run,
            waits_for: _,
            revision: _,
            created_at,
            deadline,
            ended_at,
        } = run;
        Self {
            url: run_url(config, &id),
            id: id.0,
            site,
            repo: format!("{forge}:{repo}"),
            git_ref: git_ref.map_or_else(String::new, |git_ref| git_ref.to_string()),
            commit: commit.to_string(),
            before: before.map(|id| id.to_string()),
            state: state.as_str(),
            summary,
            problems,
            notes,
            mode: if dry_run { "dry-run" } else { "live" },
            created_at: created_at.to_string(),
            ended_at: ended_at.map(|at| at.to_string()),
            deadline: deadline.to_string(),
            delivery,
            origin: origin.as_str(),
            covered_by: covered_by.map(|id| id.0),
        }
    }
}

impl From<Purge> for PurgeItem {
    fn from(purge: Purge) -> Self {
        let planned = purge.planned;
        Self {
            cdn: planned.cdn,
            kind: planned.kind.as_str(),
            target: planned.target,
            state: purge.state.as_str(),
            task: purge.task.map(|ids| ids.to_string()),
            error: purge.error,
            given_up: purge.given_up.map(GivenUp::as_str),
            rule: planned.rule,
            path: planned.path,
            mode: planned.mode.map(Mode::as_str),
            attempts: purge.attempts,
        }
    }
}

impl PurgeItem {
    /// The size of its long fields in bytes.
    fn bytes(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.target.len() + of(&self.path) + of(&self.error) + of(&self.task)
    }
}

impl From<StoredStatus> for StatusItem {
    fn from(status: StoredStatus) -> Self {
        Self {
            state: status.state.as_str(),
            description: status.description,
            wanted_at: status.wanted_at.to_string(),
            posted_at: status.posted_at.map(|at| at.to_string()),
            error: status.error,
            refused: status.refused,
        }
    }
}

/// `GET /api/v1/runs?site=&state=&commit=&limit=&cursor=`
pub(super) async fn runs(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let filter = match query::read(request.query_string()) {
        Ok(filter) => filter,
        Err(words) => return answer::refused(StatusCode::BAD_REQUEST, words),
    };
    let page = shared
        .ask(|engine| async move { query::page(engine.store(), &filter).await })
        .await;
    match page {
        Ok((runs, next)) => {
            let config = shared.engine.config();
            HttpResponse::Ok().json(RunList {
                runs: runs
                    .into_iter()
                    .map(|run| RunHead::new(&config, run))
                    .collect(),
                next: next.map(|id| id.0),
            })
        }
        Err(error) => answer::store_failed(&error),
    }
}

/// `GET /api/v1/runs/{id}?limit=&cursor=`
pub(super) async fn run(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let asked = request.match_info().get("id").unwrap_or_default();
    let Some(id) = query::run_id(asked) else {
        return no_such_run(asked);
    };
    let page = match RunPage::read(request.query_string()) {
        Ok(page) => page,
        Err(words) => return answer::refused(StatusCode::BAD_REQUEST, words),
    };
    let Some(turn) = shared.answers.large_read().await else {
        return answer_slots::busy();
    };
    let reading = |engine| async move {
        let run = one_run(engine, id, page).await;
        drop(turn);
        run
    };
    match shared.ask(reading).await {
        Ok(Some(run)) => HttpResponse::Ok().json(run),
        Ok(None) => no_such_run(asked),
        Err(error) => answer::store_failed(&error),
    }
}

/// 404 for an unknown run.
pub(super) fn no_such_run(asked: &str) -> HttpResponse {
    answer::refused(
        StatusCode::NOT_FOUND,
        format_args!(
            "there is no run {asked:?}, or not any more; GET /api/v1/runs lists those there are"
        ),
    )
}

async fn one_run(
    engine: Arc<Engine>,
    id: RunId,
    page: RunPage,
) -> Result<Option<OneRun>, StoreError> {
    let store = engine.store();
    let Some(run) = store.run(&id).await? else {
        return Ok(None);
    };
    let RunPage { skip, limit } = page;
    let ChangedFiles {
        total,
        files,
        links,
    } = ChangedFiles::read(store, &id, page).await?;
    let mut paths: Vec<String> = files.iter().map(|(path, _)| path.to_string()).collect();
    // Purges are numbered from 1 without gaps. One more tells whether there is a next page.
    let after = i64::try_from(skip).unwrap_or(i64::MAX);
    let one_more = u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1);
    let found = store.purges(&id, after, one_more).await?;
    let count = found.len();
    let mut purges: Vec<PurgeItem> = found.into_iter().map(PurgeItem::from).collect();
    let size =
        fitting((0..limit).map(|n| {
            purges.get(n).map_or(0, PurgeItem::bytes) + paths.get(n).map_or(0, String::len)
        }));
    purges.truncate(size);
    paths.truncate(size);
    let end = skip.saturating_add(size);
    let has_more = count > size || total > end;
    let statuses = store.statuses(&id).await?;
    Ok(Some(OneRun {
        changes: Changes {
            proof: run.proof.map(Completeness::as_str),
            held: run
                .bases
                .iter()
                .map(|base| base.as_str().to_owned())
                .collect(),
            by_commit: links.into_iter().map(Brought::from).collect(),
            total,
            paths,
        },
        head: RunHead::new(&engine.config(), run),
        purges,
        statuses: statuses.into_iter().map(StatusItem::from).collect(),
        next: has_more.then(|| end.to_string()),
    }))
}
