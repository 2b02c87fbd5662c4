//! What GitLab tells about a token and about webhooks.
//!
//! Facts are from "Personal access tokens API" (`self`; project and group access tokens are personal ones of a
//! bot), "Projects API" (`permissions`), "Branches API" (`can_push`), "Commits API" (the roles that may set a
//! status), "Project webhooks API" and its list of a webhook's events.

use jiff::civil::Date;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{GitLab, Trust};
use crate::clock::ClockSkew;
use crate::event::{RepoPath, SignalKind};
use crate::forge::inspection::{LastDelivery, RepoAccess, Right, Webhook};
use crate::forge::{EventKind, ForgeError};

/// Webhooks on the only page that is read; GitLab allows 100 per project.
const PAGE: &str = "100";
/// The role Developer, as an `access_level`.
const DEVELOPER: u64 = 30;

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    scopes: Vec<String>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    #[serde(default)]
    archived: bool,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    project_access: Option<Level>,
    group_access: Option<Level>,
}

#[derive(Deserialize)]
struct Level {
    access_level: u64,
}

#[derive(Deserialize)]
struct Branch {
    can_push: Option<bool>,
}

#[derive(Deserialize)]
struct HookBody {
    id: u64,
    url: Option<String>,
    #[serde(default)]
    push_events: bool,
    #[serde(default)]
    deployment_events: bool,
    #[serde(default)]
    pipeline_events: bool,
    #[serde(default)]
    releases_events: bool,
    /// `executable`, or the reason why GitLab does not call it.
    alert_status: Option<String>,
}

#[derive(Deserialize)]
struct HookEvent {
    /// An HTTP status, or `internal error` if there was no answer.
    response_status: Option<Value>,
}

/// What the token may do with a project, and with its branches.
pub(super) async fn access(
    gitlab: &GitLab,
    repo: &RepoPath,
    branches: &[&str],
) -> Result<RepoAccess, ForgeError> {
    let request = gitlab.request(Method::GET, repo, &[], &[]);
    let answer = gitlab.send(request, &format!("show {repo}")).await?;
    if answer.status != StatusCode::OK {
        return Err(gitlab.error(&answer));
    }
    let project: Project = answer.json()?;
    if gitlab.token.is_none() {
        return Ok(RepoAccess::untold("no status is posted without a `token`"));
    }
    let token = token(gitlab).await?;
    let expires_on = token.as_ref().and_then(|token| {
        let day: Option<Date> = token.expires_at.as_deref()?.get(..10)?.parse().ok();
        day
    });
    Ok(RepoAccess {
        read: Right::Granted,
        post_statuses: right(gitlab, repo, branches, token, &project).await?,
        expires_on,
    })
}

/// The token's scopes. None if GitLab does not show them for this kind of token.
async fn token(gitlab: &GitLab) -> Result<Option<Token>, ForgeError> {
    let segments = ["personal_access_tokens", "self"];
    let request = gitlab.api.request(Method::GET, &segments, &[]);
    let answer = gitlab.send(request, "show the token's scopes").await?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer.json()?)),
        StatusCode::UNAUTHORIZED => Err(gitlab.error(&answer)),
        _ => Ok(None),
    }
}

async fn right(
    gitlab: &GitLab,
    repo: &RepoPath,
    branches: &[&str],
    token: Option<Token>,
    project: &Project,
) -> Result<Right, ForgeError> {
    let missing = |why: String, advice: &str| {
        Ok(Right::Missing {
            why,
            advice: advice.to_owned(),
        })
    };
    if project.archived {
        return missing(
            "the project is archived, and takes no statuses".to_owned(),
            "unarchive it, or remove the site",
        );
    }
    if let Some(token) = &token
        && !token.scopes.iter().any(|scope| scope == "api")
    {
        let held = gitlab.api.quote(&token.scopes.join(", "));
        return missing(
            format!("the token has the scopes {held}, which do not allow statuses"),
            "make a token with the scope `api`",
        );
    }
    let levels = project.permissions.as_ref().map(|permissions| {
        let levels = [&permissions.project_access, &permissions.group_access];
        levels.into_iter().flatten().map(|level| level.access_level)
    });
    let level = levels.and_then(Iterator::max);
    if level.is_some_and(|level| level < DEVELOPER) {
        return missing(
            "the token's role in the project is below Developer, and GitLab takes statuses from there on"
                .to_owned(),
            "give it the role Developer, or Maintainer where the branch is protected",
        );
    }
    for branch in branches {
        let request = gitlab.request(Method::GET, repo, &["repository", "branches", branch], &[]);
        let what = format!("look up the branch `{branch}` of {repo}");
        let answer = gitlab.send(request, &what).await?;
        if answer.status == StatusCode::OK && answer.json::<Branch>()?.can_push == Some(false) {
            return missing(
                format!("the branch {branch} is protected, and the token may not push to it"),
                "give the token's role the right to push there, or make a token with the role Maintainer",
            );
        }
    }
    Ok(match (token, level) {
        (Some(_), Some(_)) => Right::Granted,
        (None, _) => {
            Right::Untold("GitLab does not show this token's scopes: it needs `api`".to_owned())
        }
        (Some(_), None) => Right::Untold(
            "GitLab names no role of the token in the project: it needs Developer".to_owned(),
        ),
    })
}

/// The project's webhooks, which only its Maintainers can see; with the newest event of the one whose path is ours.
pub(super) async fn webhooks(
    gitlab: &GitLab,
    repo: &RepoPath,
    hook: &Url,
) -> Result<Vec<Webhook>, ForgeError> {
    let request = gitlab.request(Method::GET, repo, &["hooks"], &[("per_page", PAGE)]);
    let what = format!("list the webhooks of {repo}");
    let answer = gitlab.send(request, &what).await?;
    if answer.status != StatusCode::OK {
        return Err(gitlab.error(&answer));
    }
    let mut found = Vec::new();
    for body in answer.json::<Vec<HookBody>>()? {
        let id = body.id;
        let mut webhook = webhook(body);
        if webhook.calls(hook) {
            webhook.last_delivery = last_delivery(gitlab, repo, id).await?;
        }
        found.push(webhook);
    }
    Ok(found)
}

fn webhook(body: HookBody) -> Webhook {
    let sends = [
        (body.push_events, EventKind::Push),
        (
            body.deployment_events,
            EventKind::Signal(SignalKind::Deployment),
        ),
        (
            body.pipeline_events,
            EventKind::Signal(SignalKind::Pipeline),
        ),
        (body.releases_events, EventKind::Signal(SignalKind::Release)),
    ];
    let status = body.alert_status.as_deref();
    Webhook {
        url: body.url.as_deref().and_then(|url| Url::parse(url).ok()),
        is_active: status.is_none_or(|status| status == "executable"),
        events: sends
            .into_iter()
            .filter(|(sends, _)| *sends)
            .map(|(_, kind)| kind)
            .collect(),
        has_secret: None,
        last_delivery: LastDelivery::Untold,
    }
}

/// The newest event of a webhook in the past seven days. Before GitLab 17.3 the API does not provide it.
async fn last_delivery(
    gitlab: &GitLab,
    repo: &RepoPath,
    hook: u64,
) -> Result<LastDelivery, ForgeError> {
    let hook = hook.to_string();
    let request = gitlab.request(
        Method::GET,
        repo,
        &["hooks", &hook, "events"],
        &[("per_page", "1")],
    );
    let what = format!("list the deliveries of the webhook of {repo}");
    let answer = gitlab.send(request, &what).await?;
    if answer.status != StatusCode::OK {
        return Ok(LastDelivery::Untold);
    }
    let Some(event) = answer.json::<Vec<HookEvent>>()?.into_iter().next() else {
        return Ok(LastDelivery::None);
    };
    let words = match event.response_status {
        Some(Value::String(words)) => words,
        Some(Value::Number(number)) => number.to_string(),
        Some(_) | None => return Ok(LastDelivery::Untold),
    };
    Ok(match words.parse() {
        Ok(status) => LastDelivery::Answered(status),
        Err(_) => LastDelivery::Unanswered(answer.quote(&words)),
    })
}

/// Only a signature depends on the time, not a secret in clear text.
pub(super) fn clock_skew(gitlab: &GitLab) -> Option<ClockSkew> {
    match &gitlab.trust {
        Trust::Signature(_) => gitlab.api.clock_skew(super::verify::TOLERANCE),
        Trust::Secret(_) => None,
    }
}
