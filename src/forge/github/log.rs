//! GitHub's log of deliveries to a webhook, which also contains those that never arrived.
//!
//! Facts are from the REST API's "Repository webhooks" and "GitHub App webhooks", and from "Redelivering webhooks",
//! which says that the log goes back three days.

use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::payload::JSON;
use super::{Access, App, GitHub, repo_path, with_versions};
use crate::event::RepoPath;
use crate::forge::api::{Answer, next_link};
use crate::forge::inspection;
use crate::forge::{DeliveryLog, ForgeError, LoggedDelivery, MAX_NAME, SentDelivery, Verified};

/// Entries per page, the maximum for any list.
const PAGE: &str = "100";
/// Pages read at a time: older deliveries are not read.
const MAX_PAGES: usize = 30;

/// The webhook that a log belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// One of the repository's own webhooks, by its id.
    Repository(String),
    /// The App's webhook, which covers every repository on which it is installed.
    App,
}

impl Hook {
    /// The position of one of its deliveries: `repository/<hook>/<delivery>` or `app/<delivery>`.
    fn place(&self, delivery: u64) -> String {
        match self {
            Self::Repository(id) => format!("repository/{id}/{delivery}"),
            Self::App => format!("app/{delivery}"),
        }
    }

    fn of(place: &str) -> Option<(Self, &str)> {
        match place.split('/').collect::<Vec<_>>().as_slice() {
            ["repository", hook, delivery] => {
                Some((Self::Repository((*hook).to_owned()), delivery))
            }
            ["app", delivery] => Some((Self::App, delivery)),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct HookBody {
    id: u64,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    url: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    id: u64,
    guid: String,
    delivered_at: Timestamp,
    event: String,
    status_code: Option<u16>,
}

#[derive(Deserialize)]
struct Detail {
    guid: String,
    event: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Request {
    payload: Option<Value>,
}

/// The log of the hook that calls `address`, newest first, back to `since`. None if no hook does.
pub(super) async fn deliveries(
    github: &GitHub,
    repo: &RepoPath,
    address: &Url,
    since: Timestamp,
) -> Result<Option<DeliveryLog>, ForgeError> {
    let Some(hook) = find(github, repo, address).await? else {
        return Ok(None);
    };
    let what = format!("list the deliveries of the webhook of {repo}");
    let mut log = DeliveryLog {
        of_all: hook == Hook::App,
        deliveries: Vec::new(),
    };
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut query = vec![("per_page", PAGE)];
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor));
        }
        let answer = match (&hook, &cursor) {
            // Usually, nothing was sent since the last query.
            (Hook::Repository(id), None) => {
                let path = ["hooks", id, "deliveries"];
                github.get_again(repo, &path, &query, &what).await?
            }
            (Hook::Repository(_) | Hook::App, _) => {
                get(github, repo, &hook, &["deliveries"], &query, &what).await?
            }
        };
        if answer.status != StatusCode::OK {
            return Err(github.error(&answer));
        }
        for row in answer.json::<Vec<Row>>()? {
            if row.delivered_at < since {
                return Ok(Some(log));
            }
            let printable = row.guid.bytes().all(|b| b.is_ascii_graphic());
            if row.guid.is_empty() || row.guid.len() > MAX_NAME || !printable {
                continue;
            }
            log.deliveries.push(LoggedDelivery {
                place: hook.place(row.id),
                id: row.guid,
                event: row.event,
                sent_at: row.delivered_at,
                answered: row.status_code.filter(|status| *status != 0),
            });
        }
        let next = next_link(&answer.headers);
        match next.and_then(|query| query.into_iter().find(|(name, _)| name == "cursor")) {
            Some((_, value)) => cursor = Some(value),
            None => break,
        }
    }
    Ok(Some(log))
}

/// A delivery of the log, as it was sent. None if the log does not have its body.
pub(super) async fn delivery(
    github: &GitHub,
    repo: &RepoPath,
    logged: &LoggedDelivery,
) -> Result<Option<SentDelivery>, ForgeError> {
    let Some((hook, id)) = Hook::of(&logged.place) else {
        return Ok(None);
    };
    let what = format!(
        "read what was sent as {} to the webhook of {repo}",
        logged.id
    );
    let answer = get(github, repo, &hook, &["deliveries", id], &[], &what).await?;
    if answer.status != StatusCode::OK {
        return Err(github.error(&answer));
    }
    if answer.is_too_long() {
        return Ok(None);
    }
    let Detail {
        guid,
        event,
        request,
    } = answer.json()?;
    let payload = request.and_then(|request| request.payload);
    // Ignore an answer that is not the requested delivery.
    let Some(payload) = payload.filter(|_| guid == logged.id && event == logged.event) else {
        return Ok(None);
    };
    Ok(Some(SentDelivery {
        verified: Verified {
            delivery_id: Some(guid),
            event,
        },
        content_type: JSON,
        body: payload.to_string().into_bytes(),
    }))
}

/// The hook that calls `address`: the App's, or else one of the repository's.
async fn find(github: &GitHub, repo: &RepoPath, address: &Url) -> Result<Option<Hook>, ForgeError> {
    if let Access::App(_) = &github.access {
        let what = "look up where the App's webhook goes";
        let answer = get(github, repo, &Hook::App, &["config"], &[], what).await?;
        if answer.status == StatusCode::OK && calls(&answer.json::<Config>()?, address) {
            return Ok(Some(Hook::App));
        }
    }
    let what = format!("list the webhooks of {repo}");
    let answer = github
        .get_again(repo, &["hooks"], &[("per_page", PAGE)], &what)
        .await?;
    if answer.status != StatusCode::OK {
        return Err(github.error(&answer));
    }
    let hooks = answer.json::<Vec<HookBody>>()?;
    let ours = hooks.iter().find(|hook| calls(&hook.config, address));
    Ok(ours.map(|hook| Hook::Repository(hook.id.to_string())))
}

/// Whether a hook calls exactly this address.
fn calls(config: &Config, address: &Url) -> bool {
    let url = config.url.as_deref().and_then(|url| Url::parse(url).ok());
    url.is_some_and(|url| inspection::calls(&url, address))
}

/// Fetches something about a hook, as the App itself or with the repository's token.
pub(super) async fn get(
    github: &GitHub,
    repo: &RepoPath,
    hook: &Hook,
    path: &[&str],
    query: &[(&str, &str)],
    what: &str,
) -> Result<Answer, ForgeError> {
    match (hook, &github.access) {
        (Hook::App, Access::App(app)) => {
            let mut segments = vec!["app", "hook"];
            segments.extend(path);
            let request = github.api.request(Method::GET, &segments, query);
            let request = as_itself(app, github, request)?;
            github.api.send(super::app::ITSELF, request, what).await
        }
        (Hook::App, Access::Anonymous | Access::Token(_)) => Err(ForgeError::Refused(
            "only an App can read the log of an App's webhook".to_owned(),
        )),
        (Hook::Repository(id), _) => {
            let mut segments = vec!["hooks", id];
            segments.extend(path);
            let segments = repo_path(repo, &segments);
            let request = github.api.request(Method::GET, &segments, query);
            github.send(repo, request, what).await
        }
    }
}

/// A request as the App, authenticated by its JWT.
pub(super) fn as_itself(
    app: &App,
    github: &GitHub,
    request: RequestBuilder,
) -> Result<RequestBuilder, ForgeError> {
    let jwt = app.jwt(github.api.timestamp())?;
    Ok(with_versions(request).header(AUTHORIZATION, github.bearer(&jwt)?))
}
