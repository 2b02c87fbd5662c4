//! Gitea and Forgejo, its fork, which has the same webhooks and API.
//!
//! Facts are from Gitea's API description (`/api/v1`, swagger) and, where that is silent, from its source. Neither
//! sends webhooks about deployments.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::changes::{ChangeSet, FilePath};
use crate::event::{CommitId, Event, RepoPath, SignalKind};
use crate::forge::address;
use crate::forge::api::{Answer, Api, ONLY, RateHeaders, denied, repo_path};
use crate::forge::body::{FORM, JSON};
use crate::forge::description::fit;
use crate::forge::inspection::{RepoAccess, Webhook};
use crate::forge::{
    BodyVerifier, Denial, EventKind, Forge, ForgeError, ForgeKind, Headers, Malformed, PostOutcome,
    Refusal, SampleDelivery, SampleEvent, StatusPost, Verified, WebPages,
};
use crate::http::Outbound;
use crate::settings::{Entry, Section, Variable};

mod changes;
mod inspection;
mod payload;
mod sample;
#[cfg(test)]
mod tests;
mod verify;

/// `kind: gitea`
pub const KIND: ForgeKind = ForgeKind {
    name: "gitea",
    read,
    entry: Entry {
        keys: r#"secrets: ["${GITEA_WEBHOOK_SECRET}"]
token: ${GITEA_TOKEN}
"#,
        variables: &[
            Variable {
                name: "GITEA_WEBHOOK_SECRET",
                what: "the secret of the webhook: type it in where you add the webhook",
            },
            Variable {
                name: "GITEA_TOKEN",
                what: "an access token (Settings, Applications) with the scope write:repository",
            },
        ],
    },
};

/// Gitea documents no limit for a status's description; a longer text would not fit on one line of its page.
const MAX_DESCRIPTION: usize = 255;

/// The options of an entry of `kind: gitea`.
pub struct Settings {
    /// Webhook secrets; a signature by any of them is valid. Empty ones are never used.
    pub secrets: Vec<SecretString>,
    /// An access token with the scope `write:repository`. Without one, only public repositories can be read.
    pub token: Option<SecretString>,
    /// The API's base: `https://HOST/api/v1`.
    pub api_url: Url,
}

/// One Gitea or Forgejo, as configured.
pub struct Gitea {
    secrets: Vec<SecretString>,
    token: Option<SecretString>,
    api: Api,
    pages: Option<WebPages>,
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Forge>> {
    let secrets = section.webhook_secrets("secrets");
    if secrets.is_empty() {
        section.missing(
            "secrets",
            Some("give the secret of the webhook on Gitea: without one, no delivery could be trusted".to_owned()),
        );
    }
    let token = section.secret("token");
    if token.is_none() {
        section.warning(
            section.at(),
            "no `token` is given, so no status can be posted on commits",
            Some("give an access token with the scope `write:repository`".to_owned()),
        );
    }
    let api_url = address::read(section, &address::GITEA)?;
    if secrets.is_empty() {
        return None;
    }
    let settings = Settings {
        secrets,
        token,
        api_url,
    };
    Some(Arc::new(Gitea::new(settings, outbound)))
}

impl Gitea {
    /// A client for one Gitea or Forgejo.
    pub fn new(settings: Settings, outbound: &Outbound) -> Self {
        let Settings {
            secrets,
            token,
            api_url,
        } = settings;
        Self {
            pages: WebPages::of(&address::GITEA, &api_url),
            secrets,
            token,
            // Gitea itself has no rate limits; a proxy in front of it may, with the usual headers.
            api: Api::new("Gitea", api_url, RateHeaders::usual(), outbound),
        }
    }

    /// Sends a request about a repository, with an optional body. The answer may be an error.
    async fn ask<B: Serialize + Sync>(
        &self,
        method: Method,
        repo: &RepoPath,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&B>,
        what: &str,
    ) -> Result<Answer, ForgeError> {
        let path = repo_path(repo, path);
        let mut request = self.api.request(method, &path, query);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = &self.token {
            let value = self.api.credential("token ", token)?;
            request = request.header(AUTHORIZATION, value);
        }
        self.api.send(ONLY, request, what).await
    }

    /// Fetches something of a repository. The answer may be an error.
    async fn get(
        &self,
        repo: &RepoPath,
        path: &[&str],
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Answer, ForgeError> {
        self.ask(Method::GET, repo, path, query, None::<&()>, what)
            .await
    }

    /// The meaning of an error answer.
    fn error(&self, answer: &Answer) -> ForgeError {
        match answer.status.as_u16() {
            403 => denied(
                Denial::Permission,
                format!(
                    "{}; the token needs the scope `write:repository`, and its owner the right to write to the \
                     repository",
                    answer.sentence()
                ),
            ),
            // "sha not found [...]", with 400 from the trees API.
            400 if answer.words().contains("not found") => ForgeError::Gone(answer.sentence()),
            _ => self.api.error(answer),
        }
    }
}

#[derive(Serialize)]
struct StatusBody<'a> {
    state: &'static str,
    context: &'a str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

#[async_trait]
impl Forge for Gitea {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn pages(&self) -> Option<&WebPages> {
        self.pages.as_ref()
    }

    fn signals(&self) -> &'static [SignalKind] {
        &[SignalKind::Release]
    }

    fn event_kind(&self, event: &str) -> EventKind {
        match event {
            "push" | "" => EventKind::Push,
            "release" => EventKind::Signal(SignalKind::Release),
            _ => EventKind::Nothing,
        }
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[JSON, FORM]
    }

    fn verifier(&self, headers: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal> {
        Ok(Box::new(verify::SignatureVerifier::new(
            &self.secrets,
            headers,
        )?))
    }

    fn understand(
        &self,
        verified: &Verified,
        content_type: &str,
        body: &[u8],
    ) -> Result<Event, Malformed> {
        payload::understand(&verified.event, content_type, body)
    }

    async fn find_repo(&self, repo: &RepoPath) -> Result<(), ForgeError> {
        let answer = self.get(repo, &[], &[], &format!("look up {repo}")).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            _ => Err(self.error(&answer)),
        }
    }

    async fn changes(
        &self,
        repo: &RepoPath,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<ChangeSet, ForgeError> {
        changes::changes(self, repo, from, to).await
    }

    async fn files(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
    ) -> Result<Option<Vec<FilePath>>, ForgeError> {
        changes::files(self, repo, commit).await
    }

    async fn resolve(&self, repo: &RepoPath, name: &str) -> Result<CommitId, ForgeError> {
        let what = format!("look up `{name}` in {repo}");
        let answer = self
            .get(repo, &["git", "commits", name], &[("stat", "false")], &what)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(self.error(&answer));
        }
        let Commit { sha } = answer.json()?;
        CommitId::parse(&sha)
            .ok_or_else(|| ForgeError::Refused(format!("Gitea gave no id for `{name}`")))
    }

    async fn branch_head(&self, repo: &RepoPath, branch: &str) -> Result<CommitId, ForgeError> {
        #[derive(Deserialize)]
        struct Branch {
            commit: Head,
        }
        #[derive(Deserialize)]
        struct Head {
            id: String,
        }
        let what = format!("look up the branch `{branch}` of {repo}");
        let mut path = vec!["branches"];
        // There is one route for each depth: the slash in a branch's name stays a slash.
        path.extend(branch.split('/'));
        let answer = self.get(repo, &path, &[], &what).await?;
        if answer.status != StatusCode::OK {
            return Err(self.error(&answer));
        }
        let Branch { commit } = answer.json()?;
        CommitId::parse(&commit.id)
            .ok_or_else(|| ForgeError::Refused(format!("Gitea gave no id for `{branch}`")))
    }

    async fn environment_head(
        &self,
        _repo: &RepoPath,
        _environment: &str,
    ) -> Result<Option<CommitId>, ForgeError> {
        Ok(None)
    }

    fn sample(&self, repo: &RepoPath, event: SampleEvent<'_>, id: &str) -> Option<SampleDelivery> {
        sample::delivery(self, repo, event, id)
    }

    async fn repo_access(
        &self,
        repo: &RepoPath,
        _branches: &[&str],
    ) -> Result<RepoAccess, ForgeError> {
        inspection::access(self, repo).await
    }

    async fn webhooks(&self, repo: &RepoPath, _hook: &Url) -> Result<Vec<Webhook>, ForgeError> {
        inspection::webhooks(self, repo).await
    }

    /// The states are GitHub's (and `warning`), and any state may follow any other.
    async fn post_status(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Result<PostOutcome, ForgeError> {
        if self.token.is_none() {
            return Err(ForgeError::Refused(
                "no status can be posted on Gitea without a `token`".to_owned(),
            ));
        }
        let body = StatusBody {
            state: status.state.as_str(),
            context: &status.context,
            description: fit(&status.description, MAX_DESCRIPTION),
            target_url: status.target_url.as_deref(),
        };
        let what = format!(
            "post the status `{}` on {} in {repo}",
            status.context,
            commit.short()
        );
        let path = ["statuses", commit.as_str()];
        let answer = self
            .ask(Method::POST, repo, &path, &[], Some(&body), &what)
            .await?;
        if answer.status.is_success() {
            return answer.has_status().map(|()| PostOutcome::Posted);
        }
        Err(self.error(&answer))
    }
}
