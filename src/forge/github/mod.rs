//! GitHub: github.com and GitHub Enterprise Server.
//!
//! Facts are from "Webhook events and payloads", "Validating webhook deliveries"
//! and the REST API's OpenAPI description, version 2022-11-28.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::SecretString;
use url::Url;

use crate::changes::{ChangeSet, FilePath};
use crate::clock::ClockSkew;
use crate::event::{CommitId, Event, RepoPath, SignalKind};
use crate::forge::address;
use crate::forge::api::{Answer, Api, ONLY, RateHeaders, denied, repo_path};
use crate::forge::inspection::{RepoAccess, Webhook};
use crate::forge::{
    BodyVerifier, DeliveryLog, Denial, EventKind, Forge, ForgeError, ForgeKind, Headers,
    LoggedDelivery, Malformed, PostOutcome, Refusal, SampleDelivery, SampleEvent, SentDelivery,
    StatusPost, Verified, WebPages,
};
use crate::http::Outbound;
use crate::settings::{Entry, Section, Variable};

mod app;
mod changes;
mod deployed;
mod inspection;
mod log;
mod payload;
mod resolve;
mod sample;
mod status;
#[cfg(test)]
mod tests;
mod verify;

pub use app::App;

/// `kind: github`
pub const KIND: ForgeKind = ForgeKind {
    name: "github",
    read,
    entry: Entry {
        keys: r#"secrets: ["${GITHUB_WEBHOOK_SECRET}"]
token: ${GITHUB_TOKEN}
"#,
        variables: &[
            Variable {
                name: "GITHUB_WEBHOOK_SECRET",
                what: "the secret of the webhook: type it in where you add the webhook",
            },
            Variable {
                name: "GITHUB_TOKEN",
                what: "a fine-grained token for the repository (Settings, Developer settings, Personal access tokens) with Commit statuses: Read and write, Contents: Read-only",
            },
        ],
    },
};

/// The version of the REST API that this module uses.
const API_VERSION: &str = "2022-11-28";

/// The options of an entry of `kind: github`.
pub struct Settings {
    /// Webhook secrets; a signature by any of them is valid. Empty ones are never used.
    pub secrets: Vec<SecretString>,
    /// How requests to the API are authorised.
    pub access: Access,
    /// The API's base: `https://api.github.com`, or `https://HOST/api/v3` on an Enterprise Server.
    pub api_url: Url,
}

/// How requests to the API are authorised.
pub enum Access {
    /// No authorisation: public repositories can be read, with 60 requests an hour.
    Anonymous,
    /// A personal access token with `Commit statuses: write` and `Contents: read`.
    Token(SecretString),
    /// A GitHub App that is installed on the repositories.
    App(Box<App>),
}

/// One GitHub, as configured.
pub struct GitHub {
    secrets: Vec<SecretString>,
    access: Access,
    api: Api,
    pages: Option<WebPages>,
}

fn read(section: &mut Section, outbound: &Outbound) -> Option<Arc<dyn Forge>> {
    let secrets = section.webhook_secrets("secrets");
    if secrets.is_empty() {
        section.missing(
            "secrets",
            Some("give the secret of the webhook on GitHub: without one, no delivery could be trusted".to_owned()),
        );
    }
    let access = read_access(section);
    let api_url = address::read(section, &address::GITHUB);
    let access = access?;
    if secrets.is_empty() {
        return None;
    }
    let settings = Settings {
        secrets,
        access,
        api_url: api_url?,
    };
    Some(Arc::new(GitHub::new(settings, outbound)))
}

fn read_access(section: &mut Section) -> Option<Access> {
    let app_at = section.place_of("app");
    let token = section.secret("token");
    let app = section.section("app");
    match (token, app) {
        (Some(_), Some(mut app)) => {
            // Read it all the same, so that its problems are shown too.
            let _ = App::read(&mut app);
            section.problem(
                app_at.unwrap_or_else(|| section.at()),
                "`token` and `app` are both given",
                Some("keep the one that purgehook should act as".to_owned()),
            );
            None
        }
        (None, Some(mut app)) => match App::read(&mut app) {
            Some(app) => Some(Access::App(Box::new(app))),
            // Without its key, no request can be sent as the App, and none will be.
            None if app.lacks_secrets() => Some(Access::Anonymous),
            None => None,
        },
        (Some(token), None) => Some(Access::Token(token)),
        (None, None) => {
            section.warning(
                section.at(),
                "neither `token` nor `app` is given, so no status can be posted on commits",
                Some("give a `token` that may write commit statuses".to_owned()),
            );
            Some(Access::Anonymous)
        }
    }
}

impl GitHub {
    /// A client for one GitHub.
    pub fn new(settings: Settings, outbound: &Outbound) -> Self {
        let Settings {
            secrets,
            access,
            api_url,
        } = settings;
        Self {
            pages: WebPages::of(&address::GITHUB, &api_url),
            secrets,
            access,
            api: Api::new("GitHub", api_url, RateHeaders::usual(), outbound),
        }
    }

    /// Adds the API version and a repository's authorisation to a request; returns the account that counts it.
    async fn authorised(
        &self,
        repo: &RepoPath,
        request: RequestBuilder,
    ) -> Result<(String, RequestBuilder), ForgeError> {
        let request = with_versions(request);
        Ok(match &self.access {
            Access::Anonymous => (ONLY.to_owned(), request),
            Access::Token(token) => (
                ONLY.to_owned(),
                request.header(AUTHORIZATION, self.bearer(token)?),
            ),
            Access::App(app) => {
                let (installation, token) = app.token(self, repo).await?;
                let request = request.header(AUTHORIZATION, self.bearer(&token)?);
                (installation, request)
            }
        })
    }

    fn bearer(&self, token: &SecretString) -> Result<HeaderValue, ForgeError> {
        self.api.credential("Bearer ", token)
    }

    /// Sends an authorised request about a repository. The answer may be an error.
    async fn send(
        &self,
        repo: &RepoPath,
        request: RequestBuilder,
        what: &str,
    ) -> Result<Answer, ForgeError> {
        let (account, request) = self.authorised(repo, request).await?;
        self.api.send(&account, request, what).await
    }

    /// Fetches something of a repository. The answer may be an error.
    async fn get(
        &self,
        repo: &RepoPath,
        path: &[&str],
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Answer, ForgeError> {
        let request = self.api.request(Method::GET, &repo_path(repo, path), query);
        self.send(repo, request, what).await
    }

    /// Like [`get`](Self::get), for data that is requested every few minutes and rarely changes.
    async fn get_again(
        &self,
        repo: &RepoPath,
        path: &[&str],
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Answer, ForgeError> {
        let request = self.api.request(Method::GET, &repo_path(repo, path), query);
        let (account, request) = self.authorised(repo, request).await?;
        let key = format!("{repo} {path:?} {query:?}");
        self.api.send_again(&account, &key, request, what).await
    }

    /// The meaning of an error answer.
    fn error(&self, answer: &Answer) -> ForgeError {
        match answer.status.as_u16() {
            // GitHub says "too fast" with 403 as well as with 429.
            403 if self.says_too_fast(answer) => self.api.too_fast(answer),
            403 => denied(
                Denial::Permission,
                format!("{}; {}", answer.sentence(), missing_permission(answer)),
            ),
            // "Git Repository is empty."
            409 => ForgeError::Gone(answer.sentence()),
            _ => self.api.error(answer),
        }
    }

    fn says_too_fast(&self, answer: &Answer) -> bool {
        self.api.is_out_of_requests(answer)
            || answer.headers.contains_key(reqwest::header::RETRY_AFTER)
            || answer.words().to_ascii_lowercase().contains("rate limit")
    }
}

fn with_versions(request: RequestBuilder) -> RequestBuilder {
    request
        .header(ACCEPT, "application/vnd.github+json")
        .header("X-GitHub-Api-Version", API_VERSION)
}

/// The permission that a request lacked, if GitHub says so.
fn missing_permission(answer: &Answer) -> String {
    let needed = answer
        .headers
        .get("x-accepted-github-permissions")
        .and_then(|value| value.to_str().ok());
    match needed {
        Some(needed) => format!("the token needs the permission {}", answer.quote(needed)),
        None => "the token needs `Contents: read` and `Commit statuses: write` on the repository"
            .to_owned(),
    }
}

#[async_trait]
impl Forge for GitHub {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn pages(&self) -> Option<&WebPages> {
        self.pages.as_ref()
    }

    /// `repository.pushed_at` ("Webhook events and payloads", `push`).
    fn dates_pushes(&self) -> bool {
        true
    }

    fn signals(&self) -> &'static [SignalKind] {
        &[
            SignalKind::Deployment,
            SignalKind::Workflow,
            SignalKind::Release,
            SignalKind::PageBuild,
        ]
    }

    // "Managing environments for deployment": "Environment names are not case sensitive."
    fn ignores_case_of_environments(&self) -> bool {
        true
    }

    fn event_kind(&self, event: &str) -> EventKind {
        match event {
            "push" | "" => EventKind::Push,
            "deployment_status" => EventKind::Signal(SignalKind::Deployment),
            "workflow_run" => EventKind::Signal(SignalKind::Workflow),
            "release" => EventKind::Signal(SignalKind::Release),
            "page_build" => EventKind::Signal(SignalKind::PageBuild),
            _ => EventKind::Nothing,
        }
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[payload::JSON, payload::FORM]
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

    async fn delivery_log(
        &self,
        repo: &RepoPath,
        hook: &Url,
        since: Timestamp,
    ) -> Result<Option<DeliveryLog>, ForgeError> {
        log::deliveries(self, repo, hook, since).await
    }

    async fn logged_delivery(
        &self,
        repo: &RepoPath,
        delivery: &LoggedDelivery,
    ) -> Result<Option<SentDelivery>, ForgeError> {
        log::delivery(self, repo, delivery).await
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

    /// "Generating a JSON Web Token (JWT)": GitHub refuses one from the future; a minute is subtracted.
    fn clock_skew(&self) -> Option<ClockSkew> {
        match &self.access {
            Access::App(_) => self.api.clock_skew(app::ISSUED_BEFORE),
            Access::Anonymous | Access::Token(_) => None,
        }
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
