//! Commit statuses on GitHub.

use reqwest::{Method, StatusCode};
use serde::Serialize;

use super::{Access, GitHub, repo_path};
use crate::event::{CommitId, RepoPath};
use crate::forge::description::fit;
use crate::forge::{ForgeError, PostOutcome, StatusPost};

/// GitHub refuses a longer description with 422 and posts no status.
const MAX_DESCRIPTION: usize = 140;

#[derive(Serialize)]
struct Body<'a> {
    state: &'static str,
    context: &'a str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
}

/// GitHub has no order among states: any may follow any other, and the newest counts.
pub(super) async fn post(
    github: &GitHub,
    repo: &RepoPath,
    commit: &CommitId,
    status: &StatusPost,
) -> Result<PostOutcome, ForgeError> {
    if let Access::Anonymous = github.access {
        return Err(ForgeError::Refused(
            "no status can be posted on GitHub without a `token` or an `app`".to_owned(),
        ));
    }
    let body = Body {
        state: status.state.as_str(),
        context: &status.context,
        description: fit(&status.description, MAX_DESCRIPTION),
        target_url: status.target_url.as_deref(),
    };
    let path = repo_path(repo, &["statuses", commit.as_str()]);
    let request = github.api.request(Method::POST, &path, &[]).json(&body);
    let what = format!(
        "post the status `{}` on {} in {repo}",
        status.context,
        commit.short()
    );
    let answer = github.send(repo, request, &what).await?;
    match answer.status {
        success if success.is_success() => answer.has_status().map(|()| PostOutcome::Posted),
        StatusCode::UNPROCESSABLE_ENTITY if answer.words().contains("No commit found for SHA") => {
            Err(ForgeError::Gone(answer.sentence()))
        }
        _ => Err(github.error(&answer)),
    }
}
