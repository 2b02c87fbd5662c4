//! GitLab's webhook deliveries, from its documentation of webhook events and
//! `lib/gitlab/data_builder/push.rb`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::super::host::{Delivery, Moved, Project, WebhookEvent};
use super::super::lists::{Lists, Renames};
use super::super::repo::{Commit, ZERO};
use super::{GitLab, SIGNING_KEY, time};

/// How many of a push's newest commits its list contains.
const MAX_COMMITS: usize = 20;
/// The token of every hook that has one.
const SECRET: &str = "sandbox-webhook-secret";

impl GitLab {
    /// Packs an event, with a signature (Standard Webhooks) and the plain token as configured.
    pub(super) fn deliver(&mut self, event: &str, body: &Value, now: Timestamp) -> Delivery {
        self.delivery_count += 1;
        let id = format!("5d2a0f0e-74d4-4a5c-8f2b-{:012x}", self.delivery_count);
        self.pack(event, &id, body.to_string().into_bytes(), now)
    }

    /// A retry: the same id and body, dated and signed again.
    pub(super) fn redeliver(&self, delivery: &Delivery, now: Timestamp) -> Delivery {
        let event = delivery.header("X-Gitlab-Event").unwrap_or_default();
        let id = delivery.header("webhook-id").unwrap_or_default();
        self.pack(event, id, delivery.body.clone(), now)
    }

    fn pack(&self, event: &str, id: &str, body: Vec<u8>, now: Timestamp) -> Delivery {
        let seconds = now.as_second().to_string();
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "GitLab/19.0.0".to_owned()),
            ("X-Gitlab-Event", event.to_owned()),
            ("X-Gitlab-Instance", "https://gitlab.example.com".to_owned()),
            (
                "X-Gitlab-Webhook-UUID",
                format!(
                    "8f7a0f0e-{:04x}-4a5c-8f2b-0123456789ab",
                    now.as_millisecond() & 0xffff
                ),
            ),
            (
                "X-Gitlab-Event-UUID",
                "13792a34-cac6-4fda-95a8-c58e00a3954e".to_owned(),
            ),
            ("Idempotency-Key", id.to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.clone()),
        ];
        if self.plain {
            headers.push(("X-Gitlab-Token", SECRET.to_owned()));
        }
        if self.signed {
            let mut text = format!("{id}.{seconds}.").into_bytes();
            text.extend_from_slice(&body);
            let mac = Hmac::<Sha256>::new_from_slice(SIGNING_KEY)
                .map(|mac| STANDARD.encode(mac.chain_update(&text).finalize().into_bytes()))
                .unwrap_or_default();
            headers.push(("webhook-signature", format!("v1,{mac}")));
        }
        let headers = headers.into_iter();
        Delivery {
            path: "/hooks/gitlab".to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body,
        }
    }
}

/// The event and body of a push to a branch or a tag.
pub(super) fn push(project: &Project, moved: &Moved) -> (&'static str, Value) {
    let repo = &project.repo;
    let tag = moved.name.starts_with("refs/tags/");
    let (event, kind) = if tag {
        ("Tag Push Hook", "tag_push")
    } else {
        ("Push Hook", "push")
    };
    let deleted = moved.after == ZERO;
    let after = repo.peel(&moved.after);
    let before = repo.peel(&moved.before);
    let commits: Vec<&Commit> = if deleted || tag {
        Vec::new()
    } else if moved.before == ZERO {
        // The commits that a new branch adds to the default one.
        let default = format!("refs/heads/{}", project.default_branch);
        let tip = moved.refs_before.get(&default).cloned();
        repo.commits_between(after, tip.as_slice())
    } else {
        repo.commits_between(after, &[before.to_owned()])
    };
    let skipped = commits.len().saturating_sub(MAX_COMMITS);
    let lines: Vec<Value> = commits
        .iter()
        .skip(skipped)
        .map(|commit| commit_json(project, commit))
        .collect();
    let body = json!({
        "object_kind": kind,
        "event_name": kind,
        "before": moved.before,
        "after": moved.after,
        "ref": moved.name,
        "ref_protected": false,
        "checkout_sha": (!deleted).then_some(after),
        "message": null,
        "user_id": 1,
        "user_name": "Ada Example",
        "user_username": "ada",
        "user_email": "",
        "user_avatar": null,
        "project_id": project.id,
        "project": project_json(project),
        "commits": lines,
        "total_commits_count": commits.len(),
        "push_options": {},
        "repository": {
            "name": project.name(),
            "url": format!("git@gitlab.example.com:{}.git", project.path),
            "homepage": format!("https://gitlab.example.com/{}", project.path),
        },
    });
    (event, body)
}

/// Events and bodies of the others. GitLab has no ping and no workflows.
pub(super) fn other(
    project: &Project,
    event: &WebhookEvent,
    now: Timestamp,
) -> Option<(&'static str, Value)> {
    let project_json = project_json(project);
    match event {
        WebhookEvent::Deployment {
            sha,
            branch,
            environment,
            state,
        } => Some((
            "Deployment Hook",
            json!({
                "object_kind": "deployment",
                "status": state,
                "status_changed_at": time(now),
                "deployment_id": 15,
                "deployable_id": 796,
                "environment": environment,
                "environment_slug": environment,
                "environment_tier": environment,
                "environment_external_url": null,
                "project": project_json,
                "ref": branch,
                "short_sha": sha.get(..8),
                "user": {"id": 1, "username": "ada"},
                "commit_url": format!("https://gitlab.example.com/{}/-/commit/{sha}", project.path),
                "commit_title": "A change",
            }),
        )),
        WebhookEvent::Pipeline {
            sha,
            branch,
            source,
            status,
        } => Some((
            "Pipeline Hook",
            json!({
                "object_kind": "pipeline",
                "object_attributes": {
                    "id": 31, "iid": 3, "ref": branch, "tag": false, "sha": sha,
                    "before_sha": ZERO, "source": source, "status": status,
                    "detailed_status": status, "created_at": time(now), "finished_at": time(now),
                },
                "merge_request": null,
                "project": project_json,
                "commit": {"id": sha, "message": "A change", "timestamp": time(now)},
                "builds": [],
            }),
        )),
        WebhookEvent::Release { tag, sha } => Some((
            "Release Hook",
            json!({
                "object_kind": "release",
                "action": "create",
                "id": 1,
                "name": tag,
                "tag": tag,
                "created_at": time(now),
                "released_at": time(now),
                "project": project_json,
                "url": format!("https://gitlab.example.com/{}/-/releases/{tag}", project.path),
                "commit": {"id": sha, "message": "A change", "timestamp": time(now)},
            }),
        )),
        WebhookEvent::Ping | WebhookEvent::Workflow { .. } => None,
    }
}

fn commit_json(project: &Project, commit: &Commit) -> Value {
    let lists = Lists::of(&project.repo, commit, Renames::NewOnly, usize::MAX);
    json!({
        "id": commit.id,
        "message": commit.message,
        "title": commit.message,
        "timestamp": time(commit.at),
        "url": format!("https://gitlab.example.com/{}/-/commit/{}", project.path, commit.id),
        "author": {"name": "Ada Example", "email": "[REDACTED]"},
        "added": lists.added,
        "modified": lists.modified,
        "removed": lists.removed,
    })
}

fn project_json(project: &Project) -> Value {
    json!({
        "id": project.id,
        "name": project.name(),
        "namespace": project.owner(),
        "path_with_namespace": project.path,
        "default_branch": project.default_branch,
        "web_url": format!("https://gitlab.example.com/{}", project.path),
        "git_http_url": format!("https://gitlab.example.com/{}.git", project.path),
    })
}
