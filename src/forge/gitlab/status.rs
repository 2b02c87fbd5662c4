//! Commit statuses on GitLab, where a status is a job in a pipeline.
//!
//! A job's states have an order, and GitLab refuses a status whose state the job already has, even with another
//! text. So a commit shows at most two pending texts, the second one as running. A status belongs to the pipeline
//! that the push started, if there is one.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::GitLab;
use crate::event::{CommitId, RepoPath};
use crate::forge::api::Answer;
use crate::forge::description::fit;
use crate::forge::{ForgeError, PostOutcome, StatusPost};
use crate::run::StatusState;

/// The maximum length of a description and of a target URL in characters ("Commits API: Set commit pipeline
/// status").
const MAX_TEXT: usize = 255;
/// Why a pending text is not posted.
pub(super) const TWO_TEXTS: &str = "not sent: GitLab takes two texts until a run ends";
/// Why a final text is not shown.
pub(super) const FIRST_TEXT: &str = "not shown: GitLab keeps the first text of an end";
/// Statuses whose pipelines are cached. A miss costs one request.
pub(super) const MAX_REMEMBERED: usize = 1_000;

/// Identifies a status: its repository, commit, ref and context.
pub(super) type Place = (RepoPath, CommitId, String, String);

#[derive(Serialize)]
struct Body<'a> {
    state: &'static str,
    name: &'a str,
    #[serde(rename = "ref")]
    ref_name: &'a str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline_id: Option<u64>,
}

#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    pipeline_id: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Pipeline {
    pub id: u64,
    pub source: Option<String>,
}

impl Pipeline {
    /// Whether it contains only commit statuses.
    fn is_external(&self) -> bool {
        self.source.as_deref() == Some("external")
    }
}

pub(super) async fn post(
    gitlab: &GitLab,
    repo: &RepoPath,
    commit: &CommitId,
    status: &StatusPost,
) -> Result<PostOutcome, ForgeError> {
    if gitlab.token.is_none() {
        return Err(ForgeError::Refused(
            "no status can be posted on GitLab without a `token`".to_owned(),
        ));
    }
    let place = (
        repo.clone(),
        commit.clone(),
        status.ref_name.clone(),
        status.context.clone(),
    );
    let pipeline_id = match gitlab.remembered(&place) {
        Some(pipeline) => pipeline,
        None => find_pipeline(gitlab, repo, commit, status).await?,
    };
    // GitLab would refuse another one: the commit has shown both states that a job has before its end.
    if status.state == StatusState::Pending && status.pending_before > 1 {
        return Ok(PostOutcome::KeptEarlierText(TWO_TEXTS));
    }
    let mut body = Body {
        state: state(status),
        name: &status.context,
        ref_name: &status.ref_name,
        description: description(status),
        target_url: status
            .target_url
            .as_deref()
            .filter(|url| url.chars().count() <= MAX_TEXT),
        pipeline_id,
    };
    let path = ["statuses", commit.as_str()];
    let what = format!(
        "post the status `{}` on {} in {repo}",
        status.context,
        commit.short()
    );
    let request = gitlab.request(Method::POST, repo, &path, &[]).json(&body);
    let mut answer = gitlab.send(request, &what).await?;
    if status.state == StatusState::Pending && refused_from(&answer).as_deref() == Some("pending") {
        body.state = "running";
        let request = gitlab.request(Method::POST, repo, &path, &[]).json(&body);
        answer = gitlab.send(request, &what).await?;
    }
    if answer.status.is_success() {
        answer.has_status()?;
        let shown_in = answer.json::<Posted>().ok().and_then(|p| p.pipeline_id);
        gitlab.remember(place, shown_in.or(pipeline_id));
        return Ok(PostOutcome::Posted);
    }
    if refused_from(&answer).is_some_and(|from| is_state(status.state, &from)) {
        return Ok(PostOutcome::KeptEarlierText(match status.state {
            StatusState::Pending => TWO_TEXTS,
            StatusState::Success | StatusState::Failure | StatusState::Error => FIRST_TEXT,
        }));
    }
    Err(gitlab.error(&answer))
}

/// GitLab has neither `error` nor `failure`, and accepts each pending state once.
fn state(status: &StatusPost) -> &'static str {
    match status.state {
        StatusState::Pending if status.pending_before > 0 => "running",
        StatusState::Pending => "pending",
        StatusState::Success => "success",
        StatusState::Failure | StatusState::Error => "failed",
    }
}

/// The description, with a prefix for what the state cannot express.
fn description(status: &StatusPost) -> String {
    match status.state {
        StatusState::Error => fit(&format!("error: {}", status.description), MAX_TEXT),
        StatusState::Pending | StatusState::Success | StatusState::Failure => {
            fit(&status.description, MAX_TEXT)
        }
    }
}

/// The state that a status could not be moved from. GitLab answers "Cannot transition status via :enqueue from
/// :pending", and the like.
fn refused_from(answer: &Answer) -> Option<String> {
    if answer.status != StatusCode::BAD_REQUEST {
        return None;
    }
    let words = answer.words();
    let (_, transition) = words.split_once("Cannot transition status via :")?;
    let (_, from) = transition.split_once(" from :")?;
    let mut words = from.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.next().map(str::to_owned)
}

/// Whether GitLab's current state is the one that the status should have. Its text may be an earlier one: GitLab
/// accepts no other until the state changes.
fn is_state(wanted: StatusState, stands: &str) -> bool {
    match wanted {
        StatusState::Pending => stands == "pending" || stands == "running",
        StatusState::Success => stands == "success",
        StatusState::Failure | StatusState::Error => stands == "failed",
    }
}

/// The pipeline that a status belongs to. None lets GitLab choose; it creates an external one if there is none.
async fn find_pipeline(
    gitlab: &GitLab,
    repo: &RepoPath,
    commit: &CommitId,
    status: &StatusPost,
) -> Result<Option<u64>, ForgeError> {
    let query = [("sha", commit.as_str()), ("ref", status.ref_name.as_str())];
    let request = gitlab.request(Method::GET, repo, &["pipelines"], &query);
    let what = format!("list the pipelines of {} in {repo}", commit.short());
    let answer = gitlab.send(request, &what).await?;
    match answer.status {
        StatusCode::OK => Ok(choose(&answer.json::<Vec<Pipeline>>()?, status.state)),
        // A project without CI, or a token that may not see it: a status needs neither.
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
        _ => Err(gitlab.error(&answer)),
    }
}

/// The newest pipeline that the push itself started. But if a status was posted before that existed (and this
/// program has forgotten where), its later states go to the external pipeline that was created for it.
pub(super) fn choose(pipelines: &[Pipeline], state: StatusState) -> Option<u64> {
    let external = pipelines.iter().filter(|p| p.is_external());
    let started = pipelines.iter().filter(|p| !p.is_external());
    let newest = started.clone().map(|p| p.id).max();
    let oldest = started.map(|p| p.id).min();
    match (state, external.map(|p| p.id).min()) {
        (StatusState::Pending, _) | (_, None) => newest,
        (_, Some(external)) if oldest.is_none_or(|oldest| external < oldest) => Some(external),
        (_, Some(_)) => newest,
    }
}

impl GitLab {
    fn remembered(&self, place: &Place) -> Option<Option<u64>> {
        let mut pipelines = self.pipelines.lock();
        pipelines.get(place).copied()
    }

    fn remember(&self, place: Place, pipeline: Option<u64>) {
        let mut pipelines = self.pipelines.lock();
        pipelines.put(place, pipeline);
    }
}
