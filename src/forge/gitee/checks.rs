//! Commit statuses on Gitee: check tasks, its name for check runs.
//!
//! From Gitee's help, "Pull Request gate check": a task without a pull request belongs to the commit itself. A task
//! with a conclusion cannot be changed any more, so a later status is a new task with the same name. The calls
//! require an administrator of the repository.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::form_urlencoded;

use super::Gitee;
use crate::event::{CommitId, RepoPath};
use crate::forge::body::FORM;
use crate::forge::{ForgeError, StatusPost};
use crate::run::StatusState;

/// Tasks per page, the documented maximum.
const PAGE: &str = "100";

#[derive(Deserialize)]
#[serde(untagged)]
enum Tasks {
    Listed { check_runs: Vec<Task> },
    Bare(Vec<Task>),
}

#[derive(Deserialize)]
struct Task {
    id: u64,
    name: Option<String>,
    status: Option<String>,
}

pub(super) async fn post(
    gitee: &Gitee,
    repo: &RepoPath,
    commit: &CommitId,
    status: &StatusPost,
) -> Result<(), ForgeError> {
    let what = format!(
        "post the check `{}` on {} in {repo}",
        status.context,
        commit.short()
    );
    let (method, path) = match open_task(gitee, repo, commit, &status.context).await? {
        Some(id) => (Method::PATCH, vec!["check-runs".to_owned(), id.to_string()]),
        None => (Method::POST, vec!["check-runs".to_owned()]),
    };
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let request = gitee
        .request(method, repo, &path, &[])?
        .header(CONTENT_TYPE, FORM)
        .body(form(commit, status));
    let answer = gitee.send(request, &what).await?;
    match answer.status.is_success() {
        true => answer.has_status(),
        false => Err(gitee.error(&answer)),
    }
}

/// The task with a name that has no conclusion yet.
async fn open_task(
    gitee: &Gitee,
    repo: &RepoPath,
    commit: &CommitId,
    name: &str,
) -> Result<Option<u64>, ForgeError> {
    let what = format!("list the checks of {} in {repo}", commit.short());
    let path = ["commits", commit.as_str(), "check-runs"];
    let query = [("check_name", name), ("per_page", PAGE)];
    let request = gitee.request(Method::GET, repo, &path, &query)?;
    let answer = gitee.send(request, &what).await?;
    if answer.status != StatusCode::OK {
        return Err(gitee.error(&answer));
    }
    let (Tasks::Listed { check_runs: tasks } | Tasks::Bare(tasks)) = answer.json()?;
    let mut open = tasks.into_iter().filter(|task| {
        task.name.as_deref() == Some(name) && task.status.as_deref() != Some("completed")
    });
    Ok(open.next().map(|task| task.id))
}

fn form(commit: &CommitId, status: &StatusPost) -> String {
    let (state, conclusion) = match status.state {
        StatusState::Pending => ("in_progress", None),
        StatusState::Success => ("completed", Some("success")),
        StatusState::Failure | StatusState::Error => ("completed", Some("failure")),
    };
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("name", &status.context)
        .append_pair("head_sha", commit.as_str())
        .append_pair("status", state);
    if let Some(conclusion) = conclusion {
        form.append_pair("conclusion", conclusion);
    }
    if let Some(url) = &status.target_url {
        form.append_pair("details_url", url);
    }
    // Rails' syntax for an object in a form.
    form.append_pair("output[title]", &status.description)
        .append_pair("output[summary]", &status.description);
    form.finish()
}
