//! Resolves names to commits on GitLab, and finds the commit that an environment runs.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::GitLab;
use crate::event::{CommitId, RepoPath};
use crate::forge::ForgeError;

#[derive(Deserialize)]
struct Commit {
    id: String,
}

/// Asks for the commit of a name ("Commits API: Get a single commit"), which peels annotated tags.
pub(super) async fn resolve(
    gitlab: &GitLab,
    repo: &RepoPath,
    name: &str,
) -> Result<CommitId, ForgeError> {
    let what = format!("look up `{name}` in {repo}");
    let path = ["repository", "commits", name];
    let request = gitlab.request(Method::GET, repo, &path, &[("stats", "false")]);
    let answer = gitlab.send(request, &what).await?;
    if answer.status != StatusCode::OK {
        return Err(gitlab.error(&answer));
    }
    let Commit { id } = answer.json()?;
    CommitId::parse(&id)
        .ok_or_else(|| ForgeError::Refused(format!("GitLab gave no id for `{name}`")))
}

/// The commit at the head of a branch ("Branches API: Get single repository branch").
pub(super) async fn branch_head(
    gitlab: &GitLab,
    repo: &RepoPath,
    branch: &str,
) -> Result<CommitId, ForgeError> {
    #[derive(Deserialize)]
    struct Branch {
        commit: Commit,
    }
    let what = format!("look up the branch `{branch}` of {repo}");
    let path = ["repository", "branches", branch];
    let request = gitlab.request(Method::GET, repo, &path, &[]);
    let answer = gitlab.send(request, &what).await?;
    if answer.status != StatusCode::OK {
        return Err(gitlab.error(&answer));
    }
    let Branch { commit } = answer.json()?;
    CommitId::parse(&commit.id)
        .ok_or_else(|| ForgeError::Refused(format!("GitLab gave no id for `{branch}`")))
}

#[derive(Deserialize)]
struct Deployment {
    sha: String,
}

/// The newest successful deployment ("Deployments API: List project deployments").
pub(super) async fn environment_head(
    gitlab: &GitLab,
    repo: &RepoPath,
    environment: &str,
) -> Result<Option<CommitId>, ForgeError> {
    let what = format!("list the deployments to `{environment}` of {repo}");
    let query = [
        ("environment", environment),
        ("status", "success"),
        ("order_by", "id"),
        ("sort", "desc"),
        ("per_page", "1"),
    ];
    let request = gitlab.request(Method::GET, repo, &["deployments"], &query);
    let answer = gitlab.send(request, &what).await?;
    if answer.status != StatusCode::OK {
        return Err(gitlab.error(&answer));
    }
    let newest = answer.json::<Vec<Deployment>>()?.into_iter().next();
    Ok(newest.and_then(|deployment| CommitId::parse(&deployment.sha)))
}
