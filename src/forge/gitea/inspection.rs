//! What Gitea and Forgejo tell about a token and about webhooks.
//!
//! From the API description (`repoGet`, `repoListHooks`). The API does not reveal a token's scopes. Reading
//! requires `read:repository`; posting a status requires `write:repository` and push access.

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::Gitea;
use crate::event::{RepoPath, SignalKind};
use crate::forge::inspection::{LastDelivery, RepoAccess, Right, Webhook};
use crate::forge::{EventKind, ForgeError};

/// Webhooks on the only page that is read: Gitea's default maximum.
const PAGE: &str = "50";

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    archived: bool,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
struct HookBody {
    #[serde(default)]
    active: bool,
    #[serde(default)]
    events: Vec<String>,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    url: Option<String>,
}

/// What the token may do with a repository.
pub(super) async fn access(gitea: &Gitea, repo: &RepoPath) -> Result<RepoAccess, ForgeError> {
    let answer = gitea.get(repo, &[], &[], &format!("show {repo}")).await?;
    if answer.status != StatusCode::OK {
        return Err(gitea.error(&answer));
    }
    let repository: Repository = answer.json()?;
    if gitea.token.is_none() {
        return Ok(RepoAccess::untold("no status is posted without a `token`"));
    }
    let may_push = repository.permissions.map(|permissions| permissions.push);
    let post_statuses = match may_push {
        _ if repository.archived => Right::Missing {
            why: "the repository is archived, and takes no statuses".to_owned(),
            advice: "unarchive it, or remove the site".to_owned(),
        },
        Some(false) => Right::Missing {
            why: "the token's owner may not write to the repository".to_owned(),
            advice: "make the owner a collaborator who may write".to_owned(),
        },
        Some(true) | None => Right::Untold(
            "whether the token has the scope `write:repository`, which posting takes, Gitea does not say"
                .to_owned(),
        ),
    };
    Ok(RepoAccess {
        read: Right::Granted,
        post_statuses,
        expires_on: None,
    })
}

/// The repository's webhooks, which only its administrators can see.
pub(super) async fn webhooks(gitea: &Gitea, repo: &RepoPath) -> Result<Vec<Webhook>, ForgeError> {
    let what = format!("list the webhooks of {repo}");
    let answer = gitea
        .get(repo, &["hooks"], &[("limit", PAGE)], &what)
        .await?;
    if answer.status != StatusCode::OK {
        return Err(gitea.error(&answer));
    }
    let hooks = answer.json::<Vec<HookBody>>()?.into_iter();
    Ok(hooks
        .map(|hook| Webhook {
            url: hook
                .config
                .url
                .as_deref()
                .and_then(|url| Url::parse(url).ok()),
            is_active: hook.active,
            events: hook
                .events
                .iter()
                .filter_map(|event| match event.as_str() {
                    "push" => Some(EventKind::Push),
                    "release" => Some(EventKind::Signal(SignalKind::Release)),
                    _ => None,
                })
                .collect(),
            has_secret: None,
            last_delivery: LastDelivery::Untold,
        })
        .collect())
}
