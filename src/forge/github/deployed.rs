//! GitHub's deployment signals: deployment statuses, workflow runs, Pages builds ("Webhook events and payloads").

use serde::Deserialize;

use crate::event::{CommitId, Deployed, Event, GitRef, Signal};
use crate::forge::Malformed;
use crate::forge::body::{self, Text, wrong};
use crate::forge::github_like::Repository;

#[derive(Deserialize)]
pub(super) struct DeploymentStatusBody<'a> {
    #[serde(borrow)]
    deployment_status: DeploymentStatus<'a>,
    deployment: Deployment<'a>,
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct DeploymentStatus<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    state: Text<'a>,
    environment: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Deployment<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    sha: Option<Text<'a>>,
    #[serde(rename = "ref")]
    git_ref: Option<Text<'a>>,
    environment: Option<Text<'a>>,
}

pub(super) fn deployment(body: DeploymentStatusBody<'_>) -> Result<Event, Malformed> {
    let DeploymentStatusBody {
        deployment_status: status,
        deployment,
        repository,
    } = body;
    let repo = repository.path()?;
    let environment = deployment.environment.or(status.environment);
    let environment = match &environment {
        Some(environment) => Some(body::word("deployment.environment", environment.as_str())?),
        None => None,
    };
    let state = body::word("deployment_status.state", status.state.as_str())?;
    if state != "success" {
        let to = environment.map_or(String::new(), |name| format!(" to `{name}`"));
        return Ok(Event::Other {
            repo: Some(repo),
            why: format!("the deployment{to} is `{state}`, and `success` is waited for"),
        });
    }
    let environment = body::needed("deployment.environment", environment)?;
    let sha = body::needed("deployment.sha", deployment.sha)?;
    let (id, status_id) = (
        body::needed("deployment.id", deployment.id)?,
        body::needed("deployment_status.id", status.id)?,
    );
    Ok(Event::Deployed(Deployed {
        repo_id: repository.id,
        repo,
        signal: Signal::Deployment { environment },
        id: format!("{id}/{status_id}"),
        git_ref: deployment.git_ref.and_then(|name| named(name.as_str())),
        commit: body::commit_ref("deployment.sha", sha.as_str())?,
    }))
}

/// The deployed ref: a branch, a tag or a commit, and GitHub does not say which.
fn named(name: &str) -> Option<GitRef> {
    if CommitId::parse(name).is_some() {
        return None;
    }
    body::git_ref("deployment.ref", name).ok()
}

#[derive(Deserialize)]
pub(super) struct WorkflowRunBody<'a> {
    #[serde(borrow)]
    action: Text<'a>,
    workflow_run: WorkflowRun<'a>,
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct WorkflowRun<'a> {
    id: Option<u64>,
    run_attempt: Option<u64>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
    event: Option<Text<'a>>,
    status: Option<Text<'a>>,
    conclusion: Option<Text<'a>>,
    head_branch: Option<Text<'a>>,
    head_sha: Option<Text<'a>>,
}

pub(super) fn workflow(body: WorkflowRunBody<'_>) -> Result<Event, Malformed> {
    let WorkflowRunBody {
        action,
        workflow_run: run,
        repository,
    } = body;
    let repo = repository.path()?;
    // The path of a workflow from another repository ends in `@` and the ref.
    let path = run.path.as_ref().map_or("", Text::as_str);
    let path = path.split('@').next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    let file = body::word("workflow_run.path", file)?;
    let other = |why: String| {
        Ok(Event::Other {
            repo: Some(repo.clone()),
            why,
        })
    };
    let text = |text: &Option<Text<'_>>| text.as_ref().map(|t| t.as_str().to_owned());
    // Check both: some runs are `completed` by their action but not by their status.
    let status = text(&run.status).unwrap_or_else(|| action.as_str().to_owned());
    if action.as_str() != "completed" || status != "completed" {
        return other(format!(
            "the workflow `{file}` is not done (it is `{}`), and its success is waited for",
            body::word("workflow_run.status", &status)?
        ));
    }
    let conclusion = text(&run.conclusion).unwrap_or_else(|| "unknown".to_owned());
    if conclusion != "success" {
        return other(format!(
            "the workflow `{file}` ended with `{}`, and `success` is waited for",
            body::word("workflow_run.conclusion", &conclusion)?
        ));
    }
    if file.is_empty() {
        return Err(wrong("workflow_run.path", "is missing"));
    }
    // Anyone may open a pull request, from a branch of any name.
    let event = body::needed("workflow_run.event", run.event)?;
    if event.as_str().starts_with("pull_request") {
        return other(format!(
            "the workflow `{file}` ran for a pull request, which deploys nothing"
        ));
    }
    let id = body::needed("workflow_run.id", run.id)?;
    let branch = match &run.head_branch {
        Some(name) => Some(GitRef::Branch(body::ref_name(
            "workflow_run.head_branch",
            name.as_str(),
        )?)),
        None => None,
    };
    Ok(Event::Deployed(Deployed {
        repo_id: repository.id,
        signal: Signal::Workflow { file },
        id: format!("{id}/{}", run.run_attempt.unwrap_or(1)),
        git_ref: branch,
        commit: body::commit_ref(
            "workflow_run.head_sha",
            body::needed("workflow_run.head_sha", run.head_sha)?.as_str(),
        )?,
        repo,
    }))
}

#[derive(Deserialize)]
pub(super) struct PageBuildBody<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    build: Build<'a>,
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct Build<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    commit: Option<Text<'a>>,
}

pub(super) fn page_build(body: PageBuildBody<'_>) -> Result<Event, Malformed> {
    let PageBuildBody {
        id,
        build,
        repository,
    } = body;
    let repo = repository.path()?;
    let status = body::word("build.status", build.status.as_str())?;
    if status != "built" {
        return Ok(Event::Other {
            repo: Some(repo),
            why: format!("the build of GitHub Pages is `{status}`, and `built` is waited for"),
        });
    }
    let commit = body::needed("build.commit", build.commit)?;
    let id = body::needed("id", id)?;
    Ok(Event::Deployed(Deployed {
        repo_id: repository.id,
        repo,
        signal: Signal::PageBuild,
        id: id.to_string(),
        git_ref: None,
        commit: body::commit_ref("build.commit", commit.as_str())?,
    }))
}
