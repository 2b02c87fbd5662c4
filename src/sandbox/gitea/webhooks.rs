//! Gitea's webhook deliveries: one signature under several names, and a short list of commits.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::github::webhooks::{sha1_mac, sha256_mac};
use super::super::host::{Delivery, Moved, Project, WebhookEvent};
use super::super::lists::{Lists, Renames};
use super::super::repo::{Commit, ZERO};
use super::Gitea;

/// How many of a push's newest commits its list contains (`FEED_MAX_COMMIT_NUM`).
const MAX_COMMITS: usize = 5;
/// The secret of every hook.
const SECRET: &str = "sandbox-webhook-secret";

impl Gitea {
    /// Packs an event with the headers of Gitea, Gogs and GitHub. The signatures cover the JSON, even if it is sent
    /// as a form.
    pub(super) fn deliver(&mut self, event: &str, body: &Value) -> Delivery {
        self.delivery_count += 1;
        let id = format!("f6266f16-1bf3-46a5-9ea4-{:012x}", self.delivery_count);
        let json = body.to_string().into_bytes();
        let (sha1, sha256) = (sha1_mac(SECRET, &json), sha256_mac(SECRET, &json));
        let (content_type, body) = if self.forms {
            let form: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("payload", &body.to_string())
                .finish();
            ("application/x-www-form-urlencoded", form.into_bytes())
        } else {
            ("application/json", json)
        };
        let mut headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        let own: &[&str] = if self.forgejo {
            &["Forgejo", "Gitea", "Gogs"]
        } else {
            &["Gitea", "Gogs"]
        };
        for name in own {
            headers.push((format!("X-{name}-Delivery"), id.clone()));
            headers.push((format!("X-{name}-Event"), event.to_owned()));
            headers.push((format!("X-{name}-Event-Type"), event.to_owned()));
            headers.push((format!("X-{name}-Signature"), sha256.clone()));
        }
        headers.push(("X-Hub-Signature".to_owned(), format!("sha1={sha1}")));
        headers.push(("X-Hub-Signature-256".to_owned(), format!("sha256={sha256}")));
        headers.push(("X-GitHub-Delivery".to_owned(), id));
        headers.push(("X-GitHub-Event".to_owned(), event.to_owned()));
        headers.push(("X-GitHub-Event-Type".to_owned(), event.to_owned()));
        Delivery {
            path: "/hooks/gitea".to_owned(),
            headers,
            body,
        }
    }
}

/// The body of a push: newest commits first, without created, deleted or forced.
pub(super) fn push(project: &Project, moved: &Moved) -> Value {
    let repo = &project.repo;
    let (before, after) = (repo.peel(&moved.before), repo.peel(&moved.after));
    let branch = moved.name.starts_with("refs/heads/");
    let mut commits: Vec<&Commit> = if !branch || moved.after == ZERO {
        Vec::new()
    } else if moved.before == ZERO {
        let others: Vec<String> = moved.refs_before.values().cloned().collect();
        repo.commits_between(after, &others)
    } else {
        repo.commits_between(after, &[before.to_owned()])
    };
    commits.reverse();
    let lines = commits.iter().take(MAX_COMMITS);
    let lines: Vec<Value> = lines.map(|commit| commit_json(project, commit)).collect();
    json!({
        "ref": moved.name,
        "before": moved.before,
        "after": moved.after,
        "compare_url": format!(
            "https://gitea.example.com/{}/compare/{before}...{after}",
            project.path
        ),
        "commits": lines,
        "total_commits": commits.len(),
        "head_commit": repo.known(after).map(|commit| commit_json(project, commit)),
        "repository": repository(project),
        "pusher": person(),
        "sender": person(),
    })
}

/// Bodies of the other events. Gitea has neither deployments nor pings, and its test delivery is a push.
pub(super) fn other(
    project: &Project,
    event: &WebhookEvent,
    now: Timestamp,
) -> Option<(&'static str, Value)> {
    match event {
        WebhookEvent::Release { tag, sha: _ } => Some((
            "release",
            json!({
                "action": "published",
                "release": {
                    "id": 1, "tag_name": tag, "target_commitish": project.default_branch,
                    "draft": false, "prerelease": false, "created_at": now.to_string(),
                },
                "repository": repository(project),
                "sender": person(),
            }),
        )),
        WebhookEvent::Ping
        | WebhookEvent::Deployment { .. }
        | WebhookEvent::Workflow { .. }
        | WebhookEvent::Pipeline { .. } => None,
    }
}

fn commit_json(project: &Project, commit: &Commit) -> Value {
    let lists = Lists::of(&project.repo, commit, Renames::BothSides, usize::MAX);
    json!({
        "id": commit.id,
        "message": commit.message,
        "url": format!("https://gitea.example.com/{}/commit/{}", project.path, commit.id),
        "author": {"name": "Ada Example", "email": "ada@example.com", "username": "ada"},
        "committer": {"name": "Ada Example", "email": "ada@example.com", "username": "ada"},
        "verification": null,
        "timestamp": commit.at.to_string(),
        "added": lists.added,
        "removed": lists.removed,
        "modified": lists.modified,
    })
}

fn repository(project: &Project) -> Value {
    json!({
        "id": project.id,
        "name": project.name(),
        "full_name": project.path,
        "default_branch": project.default_branch,
        "private": true,
        "html_url": format!("https://gitea.example.com/{}", project.path),
        "clone_url": format!("https://gitea.example.com/{}.git", project.path),
        "owner": {"id": 1, "login": project.owner(), "username": project.owner()},
    })
}

fn person() -> Value {
    json!({"id": 1, "login": "ada", "username": "ada", "email": "ada@example.com"})
}
