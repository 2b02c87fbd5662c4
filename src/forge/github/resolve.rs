//! Resolves names to commits on GitHub, and finds the commit that an environment runs.

use reqwest::StatusCode;
use serde::Deserialize;

use super::GitHub;
use crate::event::{CommitId, RepoPath};
use crate::forge::ForgeError;

/// Deployments that are searched for a successful one, newest first.
const MAX_DEPLOYMENTS: &str = "30";

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

/// Asks for the commit of a name ("Get a commit"), which peels annotated tags.
pub(super) async fn resolve(
    github: &GitHub,
    repo: &RepoPath,
    name: &str,
) -> Result<CommitId, ForgeError> {
    let is_id = name.len() >= 7 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let name = name.strip_prefix("refs/").unwrap_or(name);
    let is_full = name.starts_with("tags/") || name.starts_with("heads/");
    // If a tag and a branch share a name, git means the tag, and so does the caller.
    if !is_id && !is_full {
        match commit(github, repo, &format!("tags/{name}")).await {
            Err(ForgeError::Gone(_)) => {}
            found => return found,
        }
    }
    commit(github, repo, name).await
}

/// The commit at the head of a branch, by a ref that cannot be a tag.
pub(super) async fn branch_head(
    github: &GitHub,
    repo: &RepoPath,
    branch: &str,
) -> Result<CommitId, ForgeError> {
    commit(github, repo, &format!("heads/{branch}")).await
}

async fn commit(github: &GitHub, repo: &RepoPath, name: &str) -> Result<CommitId, ForgeError> {
    let what = format!("look up `{name}` in {repo}");
    // At most one file of the commit: only its id is needed.
    let answer = github
        .get_again(repo, &["commits", name], &[("per_page", "1")], &what)
        .await?;
    match answer.status {
        StatusCode::OK => {
            let Commit { sha } = answer.json()?;
            CommitId::parse(&sha)
                .ok_or_else(|| ForgeError::Refused(format!("GitHub gave no id for `{name}`")))
        }
        // "No commit found for SHA: ..."
        StatusCode::UNPROCESSABLE_ENTITY => Err(ForgeError::Gone(answer.sentence())),
        _ => Err(github.error(&answer)),
    }
}

#[derive(Deserialize)]
struct Deployment {
    id: u64,
    sha: String,
    #[serde(default)]
    environment: String,
}

#[derive(Deserialize)]
struct DeploymentStatus {
    state: String,
}

/// The newest deployment whose latest status is `success`; GitHub itself marks older ones `inactive`.
pub(super) async fn environment_head(
    github: &GitHub,
    repo: &RepoPath,
    environment: &str,
) -> Result<Option<CommitId>, ForgeError> {
    let list = async |environment: Option<&str>| -> Result<Vec<Deployment>, ForgeError> {
        let what = match environment {
            Some(environment) => format!("list the deployments to `{environment}` of {repo}"),
            None => format!("list the deployments of {repo}"),
        };
        let named = environment.map(|name| ("environment", name));
        let query: Vec<_> = named
            .into_iter()
            .chain([("per_page", MAX_DEPLOYMENTS)])
            .collect();
        let answer = github
            .get_again(repo, &["deployments"], &query, &what)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(github.error(&answer));
        }
        answer.json()
    };
    let mut deployments = list(Some(environment)).await?;
    if deployments.is_empty() {
        // Environment names ignore case, but no document says that this filter does.
        deployments = list(None).await?;
        let wanted = environment.to_lowercase();
        deployments.retain(|it| it.environment.to_lowercase() == wanted);
    }
    for Deployment { id, sha, .. } in deployments {
        let id = id.to_string();
        let what = format!("read how the deployment {id} of {repo} stands");
        let path = ["deployments", &id, "statuses"];
        let answer = github
            .get_again(repo, &path, &[("per_page", "1")], &what)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(github.error(&answer));
        }
        let statuses: Vec<DeploymentStatus> = answer.json()?;
        if statuses.first().is_some_and(|s| s.state == "success") {
            return Ok(CommitId::parse(&sha));
        }
    }
    Ok(None)
}
