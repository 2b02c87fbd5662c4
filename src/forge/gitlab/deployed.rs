//! GitLab's deployment signals: deployments, pipelines, releases ("Webhook events").

use serde::Deserialize;

use super::envelope::{Project, check_kind};
use crate::event::{CommitId, CommitRef, Deployed, Event, GitRef, PIPELINE_ENDS, RepoPath, Signal};
use crate::forge::Malformed;
use crate::forge::body::{self, Text, wrong};

#[derive(Deserialize)]
pub(super) struct DeploymentBody<'a> {
    #[serde(borrow)]
    object_kind: Option<Text<'a>>,
    status: Text<'a>,
    deployment_id: Option<u64>,
    environment: Option<Text<'a>>,
    #[serde(rename = "ref")]
    git_ref: Option<Text<'a>>,
    short_sha: Option<Text<'a>>,
    commit_url: Option<Text<'a>>,
    project: Project<'a>,
}

pub(super) fn deployment(body: DeploymentBody<'_>) -> Result<Event, Malformed> {
    check_kind(&body.object_kind, "deployment")?;
    let repo = body.project.path()?;
    let status = body::word("status", body.status.as_str())?;
    let environment = match &body.environment {
        Some(environment) => Some(body::word("environment", environment.as_str())?),
        None => None,
    };
    if status != "success" {
        let to = environment.map_or(String::new(), |name| format!(" to `{name}`"));
        return other(
            repo,
            format!("the deployment{to} is `{status}`, and `success` is waited for"),
        );
    }
    let (Some(environment), Some(id)) = (environment, body.deployment_id) else {
        return Err(wrong("environment", "or `deployment_id` is missing"));
    };
    // Here GitLab does not distinguish tags from branches, and does not give the full id.
    let git_ref = match &body.git_ref {
        Some(name) => Some(GitRef::Other(body::ref_name("ref", name.as_str())?)),
        None => None,
    };
    Ok(Event::Deployed(Deployed {
        repo_id: body.project.id,
        signal: Signal::Deployment { environment },
        id: id.to_string(),
        git_ref,
        commit: deployed_commit(&body)?,
        repo,
    }))
}

/// The full id is the end of the commit's URL. The URL itself is never requested.
fn deployed_commit(body: &DeploymentBody<'_>) -> Result<CommitRef, Malformed> {
    let end = body.commit_url.as_ref().and_then(|url| {
        let end = url.as_str().rsplit('/').next()?;
        CommitId::parse(end)
    });
    match (end, &body.short_sha) {
        (Some(id), Some(short)) if id.as_str().starts_with(short.as_str()) => Ok(CommitRef::Id(id)),
        (_, Some(short)) => {
            let short = short.as_str();
            if short.len() < 7 || !short.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong("short_sha", "is not the start of a commit id"));
            }
            Ok(CommitRef::Unresolved(short.to_owned()))
        }
        (Some(id), None) => Ok(CommitRef::Id(id)),
        (None, None) => Err(wrong("short_sha", "is missing")),
    }
}

#[derive(Deserialize)]
pub(super) struct PipelineBody<'a> {
    #[serde(borrow)]
    object_kind: Option<Text<'a>>,
    object_attributes: Pipeline<'a>,
    merge_request: Option<MergeRequest<'a>>,
    project: Project<'a>,
}

#[derive(Deserialize)]
struct Pipeline<'a> {
    id: u64,
    #[serde(rename = "ref", borrow)]
    git_ref: Option<Text<'a>>,
    tag: Option<bool>,
    sha: Option<Text<'a>>,
    status: Text<'a>,
    source: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct MergeRequest<'a> {
    #[serde(borrow)]
    source_branch: Option<Text<'a>>,
}

pub(super) fn pipeline(body: PipelineBody<'_>) -> Result<Event, Malformed> {
    check_kind(&body.object_kind, "pipeline")?;
    let PipelineBody {
        object_kind: _,
        object_attributes: pipeline,
        merge_request,
        project,
    } = body;
    let repo = project.path()?;
    let id = pipeline.id;
    match pipeline.source.as_ref().map(Text::as_str) {
        // Treating those as deployments would start runs for our own statuses, in an endless loop.
        Some("external") => {
            return other(
                repo,
                format!("the pipeline {id} only shows commit statuses, such as purgehook's own"),
            );
        }
        Some("parent_pipeline") => {
            return other(
                repo,
                format!("the pipeline {id} is a part of another one, which is waited for"),
            );
        }
        Some(_) | None => {}
    }
    let status = body::word("object_attributes.status", pipeline.status.as_str())?;
    if !PIPELINE_ENDS.contains(&status.as_str()) {
        return other(
            repo,
            format!("the pipeline {id} is `{status}`, and its end is waited for"),
        );
    }
    let name = body::needed("object_attributes.ref", pipeline.git_ref.as_ref())?.as_str();
    // In this case the ref is the merge request's source branch, which can have any name in a fork.
    let source_branch = merge_request
        .as_ref()
        .and_then(|m| m.source_branch.as_ref());
    if source_branch.is_some_and(|branch| branch.as_str() == name) {
        return other(
            repo,
            format!("the pipeline {id} ran for a merge request, which deploys nothing"),
        );
    }
    let name = body::ref_name("object_attributes.ref", name)?;
    let git_ref = if name.starts_with("refs/") {
        GitRef::parse(&name)
    } else if pipeline.tag == Some(true) {
        GitRef::Tag(name)
    } else {
        GitRef::Branch(name)
    };
    Ok(Event::Deployed(Deployed {
        repo,
        repo_id: project.id,
        id: format!("{id} {status}"),
        signal: Signal::Pipeline { status },
        git_ref: Some(git_ref),
        commit: body::commit_ref(
            "object_attributes.sha",
            body::needed("object_attributes.sha", pipeline.sha.as_ref())?.as_str(),
        )?,
    }))
}

#[derive(Deserialize)]
pub(super) struct ReleaseBody<'a> {
    #[serde(borrow)]
    object_kind: Option<Text<'a>>,
    id: Option<u64>,
    action: Text<'a>,
    tag: Option<Text<'a>>,
    commit: Option<Commit<'a>>,
    project: Project<'a>,
}

#[derive(Deserialize)]
struct Commit<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

pub(super) fn release(body: ReleaseBody<'_>) -> Result<Event, Malformed> {
    check_kind(&body.object_kind, "release")?;
    let repo = body.project.path()?;
    let action = body::word("action", body.action.as_str())?;
    if action != "create" {
        let of = match &body.tag {
            Some(tag) => format!(" `{}`", body::ref_name("tag", tag.as_str())?),
            None => String::new(),
        };
        return other(
            repo,
            format!(
                "the release{of} was not created (the action is `{action}`), and that is waited for"
            ),
        );
    }
    let tag = body::needed("tag", body.tag)?;
    let tag = body::ref_name("tag", tag.as_str())?;
    let id = body::needed("id", body.id)?;
    let commit = match &body.commit {
        Some(commit) => CommitRef::Id(body::commit_id("commit.id", commit.id.as_str())?),
        None => CommitRef::Unresolved(tag.clone()),
    };
    Ok(Event::Deployed(Deployed {
        repo,
        repo_id: body.project.id,
        signal: Signal::Release { tag: tag.clone() },
        id: format!("{id} {tag}"),
        git_ref: Some(GitRef::Tag(tag)),
        commit,
    }))
}

fn other(repo: RepoPath, why: String) -> Result<Event, Malformed> {
    Ok(Event::Other {
        repo: Some(repo),
        why,
    })
}
