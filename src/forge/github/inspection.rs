//! What GitHub tells about a token and about webhooks.
//!
//! Facts are from the REST API's "Get a repository", "Get a repository installation for the authenticated app",
//! "List repository webhooks", "Get a webhook configuration for an app" and "Get the authenticated app"; from
//! "Scopes for OAuth apps" (for classic tokens, in `X-OAuth-Scopes`), and from "Managing your personal access
//! tokens" (`GitHub-Authentication-Token-Expiration`).

use jiff::civil::Date;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::log::{self, Hook};
use super::{Access, App, GitHub, repo_path};
use crate::event::{RepoPath, SignalKind};
use crate::forge::api::Answer;
use crate::forge::inspection::{LastDelivery, RepoAccess, Right, Webhook};
use crate::forge::{EventKind, ForgeError};

/// Webhooks on the only page that is read; GitHub allows 20 per event.
const PAGE: &str = "100";

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    private: bool,
    #[serde(default)]
    archived: bool,
    default_branch: Option<String>,
    permissions: Option<RepositoryPermissions>,
}

#[derive(Deserialize)]
struct RepositoryPermissions {
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
struct Installation {
    permissions: InstallationPermissions,
    suspended_at: Option<String>,
}

/// `read` or `write`; missing if not granted.
#[derive(Deserialize)]
struct InstallationPermissions {
    contents: Option<String>,
    statuses: Option<String>,
}

#[derive(Deserialize)]
struct HookBody {
    active: bool,
    #[serde(default)]
    events: Vec<String>,
    config: HookConfig,
    last_response: Option<LastResponse>,
}

#[derive(Deserialize)]
struct HookConfig {
    url: Option<String>,
    /// Shown as asterisks if it is set.
    secret: Option<String>,
}

#[derive(Deserialize)]
struct LastResponse {
    code: Option<u16>,
    /// `unused` before the first delivery.
    status: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct AppBody {
    #[serde(default)]
    events: Vec<String>,
}

#[derive(Deserialize)]
struct DeliveryRow {
    status: String,
    status_code: Option<u16>,
}

/// What the token may do with a repository.
pub(super) async fn access(github: &GitHub, repo: &RepoPath) -> Result<RepoAccess, ForgeError> {
    if let Access::App(app) = &github.access {
        return app_access(github, app, repo).await;
    }
    let answer = github.get(repo, &[], &[], &format!("show {repo}")).await?;
    if answer.status != StatusCode::OK {
        return Err(github.error(&answer));
    }
    let repository: Repository = answer.json()?;
    if let Access::Anonymous = github.access {
        return Ok(RepoAccess::untold(
            "no status is posted without a `token` or an `app`",
        ));
    }
    Ok(RepoAccess {
        read: Right::Granted,
        post_statuses: token_right(github, repo, &repository, scopes(&answer)).await?,
        expires_on: expires_on(&answer),
    })
}

/// The permissions that follow from a token's scopes and its user's role. "Create a commit status" requires push
/// access. A fine-grained token has no scopes; its permissions only show when a request is refused.
async fn token_right(
    github: &GitHub,
    repo: &RepoPath,
    repository: &Repository,
    scopes: Option<Vec<String>>,
) -> Result<Right, ForgeError> {
    let missing = |why: String, advice: &str| {
        Ok(Right::Missing {
            why,
            advice: advice.to_owned(),
        })
    };
    if repository.archived {
        return missing(
            "the repository is archived, and takes no statuses".to_owned(),
            "unarchive it, or remove the site",
        );
    }
    let may_push = repository.permissions.as_ref().map(|p| p.push);
    if may_push == Some(false) {
        return missing(
            "the token's user may not push to the repository, and GitHub takes statuses only of who may"
                .to_owned(),
            "give the user the role Write, or take a token of somebody who has it",
        );
    }
    if let Some(scopes) = scopes {
        let fits = |scope: &String| match scope.as_str() {
            "repo" | "repo:status" => true,
            "public_repo" => !repository.private,
            _ => false,
        };
        if scopes.iter().any(fits) {
            return Ok(Right::Granted);
        }
        let held = match scopes.is_empty() {
            true => "no scopes".to_owned(),
            false => format!("the scopes {}", scopes.join(", ")),
        };
        return missing(
            format!("the token has {held}, which do not allow statuses"),
            "give it the scope `repo`, or take a fine-grained token with `Commit statuses: write`",
        );
    }
    let branch = repository.default_branch.as_deref().unwrap_or("HEAD");
    let what = format!("show the statuses of {branch} in {repo}");
    let answer = github
        .get(
            repo,
            &["commits", branch, "statuses"],
            &[("per_page", "1")],
            &what,
        )
        .await?;
    if answer.status == StatusCode::FORBIDDEN && !github.says_too_fast(&answer) {
        return missing(
            "the token may not even read commit statuses".to_owned(),
            "give it the permission `Commit statuses: write` on the repository",
        );
    }
    Ok(Right::Untold(
        "whether the token may write them, GitHub says of no fine-grained token: it needs `Commit statuses: write`"
            .to_owned(),
    ))
}

/// The permissions of the App's installation on the repository.
async fn app_access(github: &GitHub, app: &App, repo: &RepoPath) -> Result<RepoAccess, ForgeError> {
    let what = format!("find the App's installation on {repo}");
    let path = repo_path(repo, &["installation"]);
    let request = github.api.request(Method::GET, &path, &[]);
    let request = log::as_itself(app, github, request)?;
    let answer = github.api.send(super::app::ITSELF, request, &what).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(super::app::not_installed(&answer));
    }
    if answer.status != StatusCode::OK {
        return Err(github.error(&answer));
    }
    let Installation {
        permissions,
        suspended_at,
    } = answer.json()?;
    let right = |held: Option<&str>, enough: &[&str], name: &str| match held {
        _ if suspended_at.is_some() => Right::Missing {
            why: "the App's installation is suspended".to_owned(),
            advice: "unsuspend it in the settings of the repository's owner".to_owned(),
        },
        Some(held) if enough.contains(&held) => Right::Granted,
        Some(_) | None => Right::Missing {
            why: format!("the App's installation lacks the permission `{name}`"),
            advice: "add it to the App, and have the repository's owner accept it".to_owned(),
        },
    };
    Ok(RepoAccess {
        read: right(
            permissions.contents.as_deref(),
            &["read", "write"],
            "Contents: read",
        ),
        post_statuses: right(
            permissions.statuses.as_deref(),
            &["write"],
            "Commit statuses: write",
        ),
        expires_on: None,
    })
}

/// A classic token's scopes; none for other tokens.
fn scopes(answer: &Answer) -> Option<Vec<String>> {
    let text = answer.headers.get("x-oauth-scopes")?.to_str().ok()?;
    let scopes = text.split(',').map(str::trim).filter(|s| !s.is_empty());
    Some(scopes.map(|scope| answer.quote(scope)).collect())
}

/// The date in `2026-12-24 12:00:00 UTC`.
fn expires_on(answer: &Answer) -> Option<Date> {
    let header = answer.headers.get("github-authentication-token-expiration");
    let text = header?.to_str().ok()?;
    text.get(..10)?.parse().ok()
}

/// The webhooks that send events of a repository: the App's, and the repository's own.
pub(super) async fn webhooks(github: &GitHub, repo: &RepoPath) -> Result<Vec<Webhook>, ForgeError> {
    let mut found = Vec::new();
    if let Access::App(app) = &github.access {
        found.extend(app_webhook(github, app, repo).await?);
    }
    let what = format!("list the webhooks of {repo}");
    let answer = github
        .get_again(repo, &["hooks"], &[("per_page", PAGE)], &what)
        .await?;
    match answer.status {
        StatusCode::OK => found.extend(
            answer
                .json::<Vec<HookBody>>()?
                .into_iter()
                .map(|hook| of_repository(hook, &answer)),
        ),
        // An App with its own webhook need not be able to see others.
        _ if !found.is_empty() => {}
        _ => return Err(github.error(&answer)),
    }
    Ok(found)
}

fn of_repository(hook: HookBody, answer: &Answer) -> Webhook {
    let last_delivery = match hook.last_response {
        None => LastDelivery::Untold,
        Some(LastResponse {
            code: Some(code), ..
        }) if code != 0 => LastDelivery::Answered(code),
        Some(response) if response.status.as_deref() == Some("unused") => LastDelivery::None,
        Some(response) => LastDelivery::Unanswered(
            answer.quote(&response.message.or(response.status).unwrap_or_default()),
        ),
    };
    Webhook {
        url: parsed(hook.config.url.as_deref()),
        is_active: hook.active,
        events: events(&hook.events),
        has_secret: Some(hook.config.secret.is_some_and(|secret| !secret.is_empty())),
        last_delivery,
    }
}

/// The App's webhook, if it has one.
async fn app_webhook(
    github: &GitHub,
    app: &App,
    repo: &RepoPath,
) -> Result<Option<Webhook>, ForgeError> {
    let what = "look up where the App's webhook goes";
    let answer = log::get(github, repo, &Hook::App, &["config"], &[], what).await?;
    if answer.status != StatusCode::OK {
        return Ok(None);
    }
    let config: HookConfig = answer.json()?;
    let request = github.api.request(Method::GET, &["app"], &[]);
    let request = log::as_itself(app, github, request)?;
    let what = "look up the App's events";
    let answer = github.api.send(super::app::ITSELF, request, what).await?;
    if answer.status != StatusCode::OK {
        return Err(github.error(&answer));
    }
    let AppBody { events: names } = answer.json()?;
    let what = "list the deliveries of the App's webhook";
    let query = [("per_page", "1")];
    let answer = log::get(github, repo, &Hook::App, &["deliveries"], &query, what).await?;
    let last_delivery = match answer.status {
        StatusCode::OK => match answer.json::<Vec<DeliveryRow>>()?.into_iter().next() {
            None => LastDelivery::None,
            Some(row) => match row.status_code.filter(|code| *code != 0) {
                Some(code) => LastDelivery::Answered(code),
                None => LastDelivery::Unanswered(answer.quote(&row.status)),
            },
        },
        _ => LastDelivery::Untold,
    };
    Ok(Some(Webhook {
        url: parsed(config.url.as_deref()),
        // An App's disabled webhook has no configuration.
        is_active: true,
        events: events(&names),
        has_secret: Some(config.secret.is_some_and(|secret| !secret.is_empty())),
        last_delivery,
    }))
}

fn parsed(url: Option<&str>) -> Option<Url> {
    Url::parse(url?).ok()
}

/// The events with these names; `*` is all of them.
fn events(names: &[String]) -> Vec<EventKind> {
    let all = [
        ("push", EventKind::Push),
        (
            "deployment_status",
            EventKind::Signal(SignalKind::Deployment),
        ),
        ("workflow_run", EventKind::Signal(SignalKind::Workflow)),
        ("release", EventKind::Signal(SignalKind::Release)),
        ("page_build", EventKind::Signal(SignalKind::PageBuild)),
    ];
    let is_named = |event: &str| names.iter().any(|name| name == "*" || name == event);
    all.into_iter()
        .filter(|(event, _)| is_named(event))
        .map(|(_, kind)| kind)
        .collect()
}
