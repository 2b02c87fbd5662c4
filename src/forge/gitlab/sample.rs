//! A delivery in GitLab's format that starts nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{GitLab, Trust};
use crate::event::RepoPath;
use crate::forge::sample::{NO_COMMIT, SOME_COMMIT, SampleDelivery, SampleEvent};
use crate::forge::verifier::Macs;

/// The delivery for an event, with an id. None without a secret, and for events that GitLab does not send.
pub(super) fn delivery(
    gitlab: &GitLab,
    repo: &RepoPath,
    event: SampleEvent<'_>,
    id: &str,
) -> Option<SampleDelivery> {
    let (name, body) = event_body(repo, event)?;
    let body = body.to_string().into_bytes();
    let mut headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("X-Gitlab-Event", name.to_owned()),
        ("Idempotency-Key", id.to_owned()),
    ];
    match &gitlab.trust {
        Trust::Signature(tokens) => {
            let timestamp = gitlab.api.now().to_string();
            let mut mac = Macs::new([tokens.first()?.key()]);
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", &body] {
                mac.update(part);
            }
            let signature = STANDARD.encode(mac.finish().first()?);
            headers.extend([
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", timestamp),
                ("webhook-signature", format!("v1,{signature}")),
            ]);
        }
        Trust::Secret(secrets) => {
            let mut secrets = secrets.iter().map(ExposeSecret::expose_secret);
            let secret = secrets.find(|secret| !secret.is_empty())?;
            headers.push(("X-Gitlab-Token", secret.to_owned()));
        }
    }
    Some(SampleDelivery { headers, body })
}

fn event_body(repo: &RepoPath, event: SampleEvent<'_>) -> Option<(&'static str, Value)> {
    let project = json!({"path_with_namespace": repo.as_str()});
    Some(match event {
        SampleEvent::Push { branch } => (
            "Push Hook",
            json!({
                "object_kind": "push",
                "ref": format!("refs/heads/{branch}"),
                "before": SOME_COMMIT,
                "after": SOME_COMMIT,
                "checkout_sha": SOME_COMMIT,
                "commits": [],
                "total_commits_count": 0,
                "project": project,
            }),
        ),
        SampleEvent::Deployment {
            environment,
            branch,
        } => (
            "Deployment Hook",
            json!({
                "object_kind": "deployment",
                "status": "success",
                "deployment_id": 0,
                "environment": environment,
                "ref": branch,
                "short_sha": NO_COMMIT,
                "project": project,
            }),
        ),
        SampleEvent::Pipeline { status, branch } => (
            "Pipeline Hook",
            json!({
                "object_kind": "pipeline",
                "object_attributes": {
                    "id": 0,
                    "ref": branch,
                    "tag": false,
                    "sha": NO_COMMIT,
                    "status": status,
                    "source": "push",
                },
                "project": project,
            }),
        ),
        SampleEvent::Release => (
            "Release Hook",
            json!({
                "object_kind": "release",
                "id": 0,
                "action": "create",
                "tag": NO_COMMIT,
                "project": project,
            }),
        ),
        SampleEvent::Workflow { .. } | SampleEvent::PageBuild => return None,
    })
}
