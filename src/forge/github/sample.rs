//! A delivery in GitHub's format that starts nothing.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::GitHub;
use crate::event::RepoPath;
use crate::forge::sample::{
    NO_COMMIT, SampleDelivery, SampleEvent, github_like_push, github_like_release,
};
use crate::forge::verifier::Macs;

/// The delivery for an event, with an id. None without a secret, and for events that GitHub does not send.
pub(super) fn delivery(
    github: &GitHub,
    repo: &RepoPath,
    event: SampleEvent<'_>,
    id: &str,
) -> Option<SampleDelivery> {
    let (name, body) = event_body(repo, event)?;
    let body = body.to_string().into_bytes();
    let secret = github.secrets.first()?.expose_secret();
    let mut mac = Macs::new([secret.as_bytes()]);
    mac.update(&body);
    let signature = hex::encode(mac.finish().first()?);
    Some(SampleDelivery {
        headers: vec![
            ("Content-Type", "application/json".to_owned()),
            ("X-GitHub-Event", name.to_owned()),
            ("X-GitHub-Delivery", id.to_owned()),
            ("X-Hub-Signature-256", format!("sha256={signature}")),
        ],
        body,
    })
}

fn event_body(repo: &RepoPath, event: SampleEvent<'_>) -> Option<(&'static str, Value)> {
    let repository = json!({"full_name": repo.as_str()});
    Some(match event {
        SampleEvent::Push { branch } => ("push", github_like_push(repo, branch)),
        SampleEvent::Deployment {
            environment,
            branch,
        } => (
            "deployment_status",
            json!({
                "action": "created",
                "deployment_status": {"id": 0, "state": "success", "environment": environment},
                "deployment": {"id": 0, "sha": NO_COMMIT, "ref": branch, "environment": environment},
                "repository": repository,
            }),
        ),
        SampleEvent::Workflow { file, branch } => (
            "workflow_run",
            json!({
                "action": "completed",
                "workflow_run": {
                    "id": 0,
                    "run_attempt": 1,
                    "path": file,
                    "event": "push",
                    "status": "completed",
                    "conclusion": "success",
                    "head_branch": branch,
                    "head_sha": NO_COMMIT,
                },
                "repository": repository,
            }),
        ),
        SampleEvent::PageBuild => (
            "page_build",
            json!({
                "id": 0,
                "build": {"status": "built", "commit": NO_COMMIT},
                "repository": repository,
            }),
        ),
        SampleEvent::Release => ("release", github_like_release(repo)),
        SampleEvent::Pipeline { .. } => return None,
    })
}
