//! GitHub's webhook deliveries, from its webhook descriptions (`webhook-push` and others).

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use super::super::host::{Delivery, Moved, Project, WebhookEvent};
use super::super::lists::{Lists, Renames};
use super::super::repo::{Commit, ZERO};
use super::{GitHub, time};

/// Commits in a push.
const MAX_COMMITS: usize = 2_048;
/// Files in one commit's lists together.
const MAX_FILES: usize = 3_000;
/// The secret of every hook.
const SECRET: &str = "sandbox-webhook-secret";

impl GitHub {
    /// Signs and packs an event: the signatures cover the body as sent, as a form or JSON.
    pub(super) fn deliver(&mut self, event: &str, json: &Value, now: Timestamp) -> Delivery {
        self.delivery_count += 1;
        let count = self.delivery_count;
        let guid = format!("72d3162e-cc78-11e3-81ab-{count:012x}");
        let body = json;
        let (content_type, body) = if self.forms {
            let form: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("payload", &body.to_string())
                .finish();
            ("application/x-www-form-urlencoded", form.into_bytes())
        } else {
            ("application/json", body.to_string().into_bytes())
        };
        let headers = [
            ("Content-Type", content_type.to_owned()),
            ("User-Agent", "GitHub-Hookshot/0a1b2c3".to_owned()),
            ("Accept", "*/*".to_owned()),
            ("X-GitHub-Event", event.to_owned()),
            ("X-GitHub-Delivery", guid.clone()),
            ("X-GitHub-Hook-ID", super::log::HOOK.to_string()),
            (
                "X-GitHub-Hook-Installation-Target-Type",
                "repository".to_owned(),
            ),
            ("X-GitHub-Hook-Installation-Target-ID", "1000".to_owned()),
            (
                "X-Hub-Signature",
                format!("sha1={}", sha1_mac(SECRET, &body)),
            ),
            (
                "X-Hub-Signature-256",
                format!("sha256={}", sha256_mac(SECRET, &body)),
            ),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        self.note(&guid, event, json, &headers, now);
        Delivery {
            path: "/hooks/github".to_owned(),
            headers,
            body,
        }
    }
}

pub(in crate::sandbox) fn sha1_mac(secret: &str, body: &[u8]) -> String {
    Hmac::<Sha1>::new_from_slice(secret.as_bytes())
        .map(|mac| hex::encode(mac.chain_update(body).finalize().into_bytes()))
        .unwrap_or_default()
}

pub(in crate::sandbox) fn sha256_mac(secret: &str, body: &[u8]) -> String {
    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mac| hex::encode(mac.chain_update(body).finalize().into_bytes()))
        .unwrap_or_default()
}

/// The body of a push.
pub(super) fn push(project: &Project, moved: &Moved, now: Timestamp) -> Value {
    let repo = &project.repo;
    let created = moved.before == ZERO;
    let deleted = moved.after == ZERO;
    let after = repo.peel(&moved.after);
    let before = repo.peel(&moved.before);
    let branch = moved.name.starts_with("refs/heads/");
    let others: Vec<String> = moved
        .refs_before
        .iter()
        .filter(|(name, _)| **name != moved.name)
        .map(|(_, id)| repo.peel(id).to_owned())
        .collect();
    let commits: Vec<&Commit> = match (branch && !deleted, created) {
        (false, _) => Vec::new(),
        (true, true) => repo.commits_between(after, &others),
        (true, false) => repo.commits_between(after, &[before.to_owned()]),
    };
    let seen_before: Vec<String> = others.iter().cloned().chain([before.to_owned()]).collect();
    let fresh: Vec<&str> = repo
        .commits_between(after, &seen_before)
        .iter()
        .map(|commit| commit.id.as_str())
        .collect();
    let forced = branch && !created && !deleted && !repo.contains(after, before);
    let base_ref = moved
        .refs_before
        .iter()
        .find(|(name, id)| {
            created && **name != moved.name && name.starts_with("refs/heads/") && *id == after
        })
        .map(|(name, _)| name);
    let newest = commits.len().saturating_sub(MAX_COMMITS);
    let lists: Vec<Value> = commits
        .iter()
        .skip(newest)
        .map(|commit| commit_json(project, commit, fresh.contains(&commit.id.as_str())))
        .collect();
    let head = (!deleted)
        .then(|| repo.known(after))
        .flatten()
        .map(|commit| commit_json(project, commit, fresh.contains(&commit.id.as_str())));
    json!({
        "ref": moved.name,
        "before": moved.before,
        "after": moved.after,
        "created": created,
        "deleted": deleted,
        "forced": forced,
        "base_ref": base_ref,
        "compare": format!(
            "https://github.com/{}/compare/{}...{}",
            project.path, short(before), short(after)
        ),
        "commits": lists,
        "head_commit": head,
        "repository": pushed_repository(project, now),
        "pusher": {"name": "ada", "email": "ada@example.com"},
        "sender": sender(),
    })
}

fn commit_json(project: &Project, commit: &Commit, distinct: bool) -> Value {
    let lists = Lists::of(&project.repo, commit, Renames::BothSides, MAX_FILES);
    json!({
        "id": commit.id,
        "tree_id": commit.tree,
        "distinct": distinct,
        "message": commit.message,
        "timestamp": time(commit.at),
        "url": format!("https://github.com/{}/commit/{}", project.path, commit.id),
        "author": {"name": "Ada Example", "email": "ada@example.com", "username": "ada"},
        "committer": {"name": "Ada Example", "email": "ada@example.com", "username": "ada"},
        "added": lists.added,
        "removed": lists.removed,
        "modified": lists.modified,
    })
}

/// Bodies of the other events. GitHub has no pipelines.
pub(super) fn other(
    project: &Project,
    event: &WebhookEvent,
    now: Timestamp,
) -> Option<(&'static str, Value)> {
    let repository = repository(project);
    match event {
        WebhookEvent::Ping => Some((
            "ping",
            json!({
                "zen": "Speak like a human.",
                "hook_id": 292_430_182,
                "hook": {"type": "Repository", "id": 292_430_182, "name": "web", "active": true, "events": ["push"]},
                "repository": repository,
                "sender": sender(),
            }),
        )),
        WebhookEvent::Deployment {
            sha,
            branch,
            environment,
            state,
        } => Some((
            "deployment_status",
            json!({
                "action": "created",
                "deployment_status": {
                    "id": 2, "state": state, "environment": environment, "description": "",
                    "target_url": "", "log_url": "", "environment_url": "", "created_at": time(now),
                },
                "deployment": {
                    "id": 1, "sha": sha, "ref": branch, "task": "deploy", "payload": {},
                    "environment": environment, "original_environment": environment, "created_at": time(now),
                },
                "check_run": null,
                "workflow": null,
                "workflow_run": null,
                "repository": repository,
                "sender": sender(),
            }),
        )),
        WebhookEvent::Workflow {
            sha,
            branch,
            path,
            event,
            conclusion,
        } => Some((
            "workflow_run",
            json!({
                "action": "completed",
                "workflow_run": {
                    "id": 1, "name": "Deploy", "path": path, "event": event, "status": "completed",
                    "conclusion": conclusion, "head_sha": sha, "head_branch": branch, "run_attempt": 1,
                    "run_number": 1, "created_at": time(now), "updated_at": time(now),
                    "head_repository": {"full_name": project.path},
                    "repository": {"full_name": project.path},
                },
                "workflow": {"id": 1, "name": "Deploy", "path": path, "state": "active"},
                "repository": repository,
                "sender": sender(),
            }),
        )),
        WebhookEvent::Release { tag, sha: _ } => Some((
            "release",
            json!({
                "action": "published",
                "release": {
                    "id": 1, "tag_name": tag, "target_commitish": project.default_branch, "name": tag,
                    "draft": false, "prerelease": false, "created_at": time(now), "published_at": time(now),
                },
                "repository": repository,
                "sender": sender(),
            }),
        )),
        WebhookEvent::Pipeline { .. } => None,
    }
}

fn repository(project: &Project) -> Value {
    json!({
        "id": project.id,
        "name": project.name(),
        "full_name": project.path,
        "private": true,
        "fork": false,
        "owner": {"name": project.owner(), "login": project.owner(), "id": 1, "type": "Organization"},
        "html_url": format!("https://github.com/{}", project.path),
        "url": format!("https://github.com/{}", project.path),
        "default_branch": project.default_branch,
        "master_branch": project.default_branch,
    })
}

/// In a push, the repository's times are in seconds, unlike anywhere else.
fn pushed_repository(project: &Project, now: Timestamp) -> Value {
    let mut body = repository(project);
    if let Some(body) = body.as_object_mut() {
        body.insert("created_at".into(), json!(1_600_000_000));
        body.insert("pushed_at".into(), json!(now.as_second()));
    }
    body
}

fn sender() -> Value {
    json!({"login": "ada", "id": 1, "type": "User", "site_admin": false})
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
