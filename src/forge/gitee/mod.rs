//! Gitee: gitee.com and its private editions.
//!
//! Facts are from Gitee's help ("Webhook push data format") and its API v5 description. Statuses are posted as
//! check tasks. A webhook's signature does not cover its body, so a body never proves what changed.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::changes::ChangeSet;
use crate::clock::ClockSkew;
use crate::event::{CommitId, Event, RepoPath, SignalKind};
use crate::forge::address;
use crate::forge::api::{Answer, Api, ONLY, RateHeaders, denied, repo_path};
use crate::forge::body::JSON;
use crate::forge::inspection::{RepoAccess, Webhook};
use crate::forge::{
    BodyVerifier, Denial, EventKind, Forge, ForgeError, ForgeKind, Headers, Malformed, PostOutcome,
    Refusal, SampleDelivery, SampleEvent, StatusPost, Verified, WebPages,
};
use crate::http::Outbound;
use crate::settings::{Entry, Section, Variable};

mod changes;
mod checks;
mod inspection;
mod payload;
mod sample;
#[cfg(test)]
mod tests;
mod verify;

pub use verify::{Mode, Trust};

/// `kind: gitee`
pub const KIND: ForgeKind = ForgeKind {
    name: "gitee",
    read,
    entry: Entry {
        keys: r#"# As on the page of the webhook: `sign` for a signing key, `password` for a password.
mode: sign
secrets: ["${GITEE_WEBHOOK_SECRET}"]
token: ${GITEE_TOKEN}
"#,
        variables: &[
            Variable {
                name: "GITEE_WEBHOOK_SECRET",
                what: "the signing key of the webhook: type it in where you add the webhook",
            },
            Variable {
                name: "GITEE_TOKEN",
                what: "a private token (Settings, Private tokens) with the scope projects, of an administrator of the repository",
            },
        ],
    },
};

/// The options of an entry of `kind: gitee`.
pub struct Settings {
    /// The webhook's signing keys or passwords; any of them is valid. Empty ones are never used.
    pub secrets: Vec<SecretString>,
    /// Whether they are keys or passwords.
    pub mode: Mode,
    /// A personal access token with the scope `projects`. Without one, only public repositories can be read.
    pub token: Option<SecretString>,
    /// The API's base: `https://gitee.com/api/v5`.
    pub api_url: Url,
}

/// One Gitee, as configured.
pub struct Gitee {
    trust: Trust,
    token: Option<SecretString>,
    api: Api,
    pages: Option<WebPages>,
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Forge>> {
    let secrets = section.webhook_secrets("secrets");
    if secrets.is_empty() {
        section.missing(
            "secrets",
            Some("give the signing key of the webhook on Gitee: without one, no delivery could be trusted".to_owned()),
        );
    }
    let mode = match section.word("mode", &["sign", "password"]) {
        Some(word) if word.value == "password" => Mode::Password,
        Some(_) | None => Mode::Sign,
    };
    let token = section.secret("token");
    let api_url = address::read(section, &address::GITEE);
    if secrets.is_empty() {
        return None;
    }
    let settings = Settings {
        secrets,
        mode,
        token,
        api_url: api_url?,
    };
    Some(Arc::new(Gitee::new(settings, outbound)))
}

impl Gitee {
    /// A client for one Gitee.
    pub fn new(settings: Settings, outbound: &Outbound) -> Self {
        let Settings {
            secrets,
            mode,
            token,
            api_url,
        } = settings;
        Self {
            pages: WebPages::of(&address::GITEE, &api_url),
            trust: Trust::new(mode, secrets),
            token,
            api: Api::new("Gitee", api_url, RateHeaders::usual(), outbound),
        }
    }

    /// Fetches something of a repository. The answer may be an error.
    async fn get(&self, repo: &RepoPath, path: &[&str], what: &str) -> Result<Answer, ForgeError> {
        let request = self.request(Method::GET, repo, path, &[])?;
        self.send(request, what).await
    }

    /// A request about a repository, with the token if there is one.
    fn request(
        &self,
        method: Method,
        repo: &RepoPath,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, ForgeError> {
        let request = self.api.request(method, &repo_path(repo, path), query);
        let Some(token) = &self.token else {
            return Ok(request);
        };
        // The documented parameter `access_token` would put it into URLs, and so into logs.
        let value = self.api.credential("Bearer ", token)?;
        Ok(request.header(AUTHORIZATION, value))
    }

    async fn send(&self, request: RequestBuilder, what: &str) -> Result<Answer, ForgeError> {
        self.api.send(ONLY, request, what).await
    }

    /// The meaning of an error answer.
    fn error(&self, answer: &Answer) -> ForgeError {
        match answer.status.as_u16() {
            403 if self.api.is_out_of_requests(answer) => self.api.too_fast(answer),
            403 => denied(
                Denial::Permission,
                format!(
                    "{}; the token needs the scope `projects`, and for checks an administrator of the repository",
                    answer.sentence()
                ),
            ),
            _ => self.api.error(answer),
        }
    }
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

#[async_trait]
impl Forge for Gitee {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn pages(&self) -> Option<&WebPages> {
        self.pages.as_ref()
    }

    fn signals(&self) -> &'static [SignalKind] {
        &[]
    }

    fn event_kind(&self, event: &str) -> EventKind {
        match event {
            "Push Hook" | "Tag Push Hook" | "" => EventKind::Push,
            _ => EventKind::Nothing,
        }
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[JSON]
    }

    fn verifier(&self, headers: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal> {
        let now = self.api.timestamp().as_millisecond();
        self.trust.verifier(headers, now)
    }

    fn understand(
        &self,
        verified: &Verified,
        _content_type: &str,
        body: &[u8],
    ) -> Result<Event, Malformed> {
        payload::understand(&verified.event, body)
    }

    async fn find_repo(&self, repo: &RepoPath) -> Result<(), ForgeError> {
        let answer = self.get(repo, &[], &format!("look up {repo}")).await?;
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

    async fn resolve(&self, repo: &RepoPath, name: &str) -> Result<CommitId, ForgeError> {
        let what = format!("look up `{name}` in {repo}");
        let answer = self.get(repo, &["commits", name], &what).await?;
        if answer.status != StatusCode::OK {
            return Err(self.error(&answer));
        }
        let Commit { sha } = answer.json()?;
        CommitId::parse(&sha)
            .ok_or_else(|| ForgeError::Refused(format!("Gitee gave no id for `{name}`")))
    }

    async fn branch_head(&self, repo: &RepoPath, branch: &str) -> Result<CommitId, ForgeError> {
        #[derive(Deserialize)]
        struct Branch {
            commit: Commit,
        }
        let what = format!("look up the branch `{branch}` of {repo}");
        let answer = self.get(repo, &["branches", branch], &what).await?;
        if answer.status != StatusCode::OK {
            return Err(self.error(&answer));
        }
        let Branch { commit } = answer.json()?;
        CommitId::parse(&commit.sha)
            .ok_or_else(|| ForgeError::Refused(format!("Gitee gave no id for `{branch}`")))
    }

    async fn environment_head(
        &self,
        _repo: &RepoPath,
        _environment: &str,
    ) -> Result<Option<CommitId>, ForgeError> {
        Ok(None)
    }

    fn sample(&self, repo: &RepoPath, event: SampleEvent<'_>, _id: &str) -> Option<SampleDelivery> {
        sample::delivery(self, repo, event)
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

    fn clock_skew(&self) -> Option<ClockSkew> {
        match self.trust.mode() {
            Mode::Sign => self.api.clock_skew(verify::TOLERANCE / 1_000),
            Mode::Password => None,
        }
    }

    async fn post_status(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Result<PostOutcome, ForgeError> {
        if self.token.is_none() {
            return Err(ForgeError::Refused(
                "no check can be posted on Gitee without a `token`".to_owned(),
            ));
        }
        checks::post(self, repo, commit, status).await?;
        Ok(PostOutcome::Posted)
    }
}
