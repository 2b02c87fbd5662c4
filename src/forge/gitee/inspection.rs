//! What Gitee tells about a token and about webhooks.
//!
//! From the API v5 description: a repository's `permission` is that of the token's user, and a webhook includes the
//! result of its last delivery. Checks require an administrator of the repository ("Pull Request gate check").

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::Gitee;
use crate::event::RepoPath;
use crate::forge::inspection::{LastDelivery, RepoAccess, Right, Webhook};
use crate::forge::{EventKind, ForgeError};

#[derive(Deserialize)]
struct Repository {
    #[serde(alias = "permissions")]
    permission: Option<Permission>,
}

#[derive(Deserialize)]
struct Permission {
    #[serde(default)]
    admin: bool,
}

/// The answer also contains the password, which is not read.
#[derive(Deserialize)]
struct HookBody {
    url: Option<String>,
    #[serde(default)]
    push_events: bool,
    result: Option<String>,
    result_code: Option<Value>,
}

/// What the token may do with a repository.
pub(super) async fn access(gitee: &Gitee, repo: &RepoPath) -> Result<RepoAccess, ForgeError> {
    let answer = gitee.get(repo, &[], &format!("show {repo}")).await?;
    if answer.status != StatusCode::OK {
        return Err(gitee.error(&answer));
    }
    let repository: Repository = answer.json()?;
    if gitee.token.is_none() {
        return Ok(RepoAccess::untold("no check is posted without a `token`"));
    }
    let post_statuses = match repository.permission.map(|permission| permission.admin) {
        Some(true) => Right::Granted,
        Some(false) => Right::Missing {
            why: "the token's user is no administrator of the repository, and Gitee takes checks of no others"
                .to_owned(),
            advice: "take a token of an administrator, with the scope `projects`".to_owned(),
        },
        None => Right::Untold(
            "Gitee did not say whether the token's user is an administrator, which checks take"
                .to_owned(),
        ),
    };
    Ok(RepoAccess {
        read: Right::Granted,
        post_statuses,
        expires_on: None,
    })
}

/// The repository's webhooks.
pub(super) async fn webhooks(gitee: &Gitee, repo: &RepoPath) -> Result<Vec<Webhook>, ForgeError> {
    let what = format!("list the webhooks of {repo}");
    let answer = gitee.get(repo, &["hooks"], &what).await?;
    if answer.status != StatusCode::OK {
        return Err(gitee.error(&answer));
    }
    let hooks = answer.json::<Vec<HookBody>>()?.into_iter();
    Ok(hooks
        .map(|hook| Webhook {
            url: hook.url.as_deref().and_then(|url| Url::parse(url).ok()),
            is_active: true,
            events: if hook.push_events {
                vec![EventKind::Push]
            } else {
                Vec::new()
            },
            has_secret: None,
            last_delivery: last_delivery(hook.result_code.as_ref(), hook.result)
                .map_words(|words| answer.quote(words)),
        })
        .collect())
}

/// The status and the text of a webhook's last delivery; none before the first one.
fn last_delivery(code: Option<&Value>, words: Option<String>) -> LastDelivery {
    let code = match code {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) | None => None,
    };
    match code.and_then(|code| u16::try_from(code).ok()) {
        Some(code) if code >= 100 => LastDelivery::Answered(code),
        Some(_) | None => match words.filter(|words| !words.trim().is_empty()) {
            Some(words) => LastDelivery::Unanswered(words),
            None => LastDelivery::None,
        },
    }
}
