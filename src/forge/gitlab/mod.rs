//! GitLab: gitlab.com and self-managed.
//!
//! Facts are from GitLab's documentation ("Webhooks", "Repositories API",
//! "Commits API", "Diff limits") and, where that is silent, from its source.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::header::HeaderName;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::SecretString;
use url::Url;

use crate::cache::LruCache;
use crate::changes::{ChangeSet, FilePath};
use crate::clock::ClockSkew;
use crate::event::{CommitId, Event, RepoPath, SignalKind};
use crate::forge::address;
use crate::forge::api::{Answer, Api, ONLY, RateHeaders, denied};
use crate::forge::inspection::{RepoAccess, Webhook};
use crate::forge::{
    BodyVerifier, Denial, EventKind, Forge, ForgeError, ForgeKind, Headers, Malformed, PostOutcome,
    Refusal, SampleDelivery, SampleEvent, StatusPost, Verified, WebPages,
};
use crate::http::Outbound;
use crate::settings::{Entry, Section, Variable};

mod changes;
mod deployed;
mod envelope;
mod inspection;
mod payload;
mod resolve;
mod sample;
mod status;
#[cfg(test)]
mod tests;
mod verify;

pub use verify::{SigningToken, Trust};

/// `kind: gitlab`
pub const KIND: ForgeKind = ForgeKind {
    name: "gitlab",
    read,
    entry: Entry {
        keys: r#"# GitLab 19 and later can sign: `signing_tokens:` in place of `secrets:`.
secrets: ["${GITLAB_WEBHOOK_TOKEN}"]
token: ${GITLAB_TOKEN}
"#,
        variables: &[
            Variable {
                name: "GITLAB_WEBHOOK_TOKEN",
                what: "the secret token of the webhook: type it in where you add the webhook",
            },
            Variable {
                name: "GITLAB_TOKEN",
                what: "a project access token (Settings, Access tokens) with the scope api and the role Developer, on protected branches Maintainer",
            },
        ],
    },
};

/// The options of an entry of `kind: gitlab`.
pub struct Settings {
    /// How webhooks are authenticated.
    pub trust: Trust,
    /// A project, group or personal access token with the scope `api` and the role Developer (or push access, for
    /// protected branches). Without one, only public projects can be read.
    pub token: Option<SecretString>,
    /// The API's base: `https://gitlab.com/api/v4`, or `https://HOST/api/v4`.
    pub api_url: Url,
}

/// One GitLab, as configured.
pub struct GitLab {
    trust: Trust,
    token: Option<SecretString>,
    api: Api,
    pages: Option<WebPages>,
    /// The pipeline of a status, so that its later states go to the same one.
    pipelines: Mutex<LruCache<status::Place, Option<u64>>>,
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Forge>> {
    let tokens_at = ["signing_tokens", "signing_tokens_file"]
        .into_iter()
        .find_map(|key| section.place_of(key))
        .unwrap_or_else(|| section.at());
    let secrets = section.webhook_secrets("secrets");
    let given = section.secrets("signing_tokens");
    let mut signing_tokens = Vec::new();
    for (index, token) in given.iter().enumerate() {
        match SigningToken::parse(token) {
            Ok(token) => signing_tokens.push(token),
            Err(why) => section.problem(
                tokens_at.clone(),
                format!("item {} of `signing_tokens` {why}", index + 1),
                Some(
                    "copy the signing token that GitLab showed when the webhook was made"
                        .to_owned(),
                ),
            ),
        }
    }
    if given.is_empty() && secrets.is_empty() {
        section.problem(
            section.at(),
            "neither `signing_tokens` nor `secrets` is given, so no delivery could be trusted",
            Some("give the signing token of the webhook on GitLab".to_owned()),
        );
    }
    let token = section.secret("token");
    if token.is_none() {
        section.warning(
            section.at(),
            "no `token` is given, so no status can be posted on commits",
            Some("give a project access token with the scope `api`".to_owned()),
        );
    }
    let api_url = address::read(section, &address::GITLAB);
    if signing_tokens.len() < given.len() {
        return None;
    }
    let settings = Settings {
        trust: Trust::of(signing_tokens, secrets)?,
        token,
        api_url: api_url?,
    };
    Some(Arc::new(GitLab::new(settings, outbound)))
}

impl GitLab {
    /// A client for one GitLab.
    pub fn new(settings: Settings, outbound: &Outbound) -> Self {
        let Settings {
            trust,
            token,
            api_url,
        } = settings;
        Self {
            pages: WebPages::of(&address::GITLAB, &api_url),
            trust,
            token,
            api: Api::new(
                "GitLab",
                api_url,
                RateHeaders {
                    remaining: HeaderName::from_static("ratelimit-remaining"),
                    reset: HeaderName::from_static("ratelimit-reset"),
                },
                outbound,
            ),
            pipelines: Mutex::new(LruCache::new(status::MAX_REMEMBERED)),
        }
    }

    /// A request about a project, whose full path is one segment of the URL.
    fn request(
        &self,
        method: Method,
        repo: &RepoPath,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        let mut segments = vec!["projects", repo.as_str()];
        segments.extend(path);
        self.api.request(method, &segments, query)
    }

    /// Sends a request with its authorisation. The answer may be an error.
    async fn send(&self, request: RequestBuilder, what: &str) -> Result<Answer, ForgeError> {
        let request = match &self.token {
            None => request,
            Some(token) => {
                let value = self.api.credential("", token)?;
                request.header("PRIVATE-TOKEN", value)
            }
        };
        self.api.send(ONLY, request, what).await
    }

    /// The meaning of an error answer.
    fn error(&self, answer: &Answer) -> ForgeError {
        match answer.status.as_u16() {
            403 => denied(
                Denial::Permission,
                format!(
                    "{}; the token needs the scope `api` and the role Developer, \
                     or the right to push where the branch is protected",
                    answer.sentence()
                ),
            ),
            _ => self.api.error(answer),
        }
    }
}

#[async_trait]
impl Forge for GitLab {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn pages(&self) -> Option<&WebPages> {
        self.pages.as_ref()
    }

    fn signals(&self) -> &'static [SignalKind] {
        &[
            SignalKind::Deployment,
            SignalKind::Pipeline,
            SignalKind::Release,
        ]
    }

    // "Subgroups": up to 20 levels.
    fn nests_repositories(&self) -> bool {
        true
    }

    fn event_kind(&self, event: &str) -> EventKind {
        match event {
            "Push Hook" | "Tag Push Hook" | "" => EventKind::Push,
            "Deployment Hook" => EventKind::Signal(SignalKind::Deployment),
            "Pipeline Hook" => EventKind::Signal(SignalKind::Pipeline),
            "Release Hook" => EventKind::Signal(SignalKind::Release),
            _ => EventKind::Nothing,
        }
    }

    fn content_types(&self) -> &'static [&'static str] {
        &["application/json"]
    }

    fn verifier(&self, headers: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal> {
        self.trust.verifier(headers, self.api.now())
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
        let answer = {
            let request = self.request(Method::GET, repo, &[], &[]);
            self.send(request, &format!("look up {repo}")).await?
        };
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
        resolve::resolve(self, repo, name).await
    }

    async fn branch_head(&self, repo: &RepoPath, branch: &str) -> Result<CommitId, ForgeError> {
        resolve::branch_head(self, repo, branch).await
    }

    async fn environment_head(
        &self,
        repo: &RepoPath,
        environment: &str,
    ) -> Result<Option<CommitId>, ForgeError> {
        resolve::environment_head(self, repo, environment).await
    }

    fn sample(&self, repo: &RepoPath, event: SampleEvent<'_>, id: &str) -> Option<SampleDelivery> {
        sample::delivery(self, repo, event, id)
    }

    async fn repo_access(
        &self,
        repo: &RepoPath,
        branches: &[&str],
    ) -> Result<RepoAccess, ForgeError> {
        inspection::access(self, repo, branches).await
    }

    async fn webhooks(&self, repo: &RepoPath, hook: &Url) -> Result<Vec<Webhook>, ForgeError> {
        inspection::webhooks(self, repo, hook).await
    }

    fn clock_skew(&self) -> Option<ClockSkew> {
        inspection::clock_skew(self)
    }

    async fn post_status(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Result<PostOutcome, ForgeError> {
        status::post(self, repo, commit, status).await
    }
}
