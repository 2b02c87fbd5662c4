//! Forges: the git hosts that send webhooks and take commit statuses.
//!
//! To add one, write its module and add its line to [`KINDS`]. Shared code stands beside them: `api` (requests and
//! the meaning of their errors), `body` (typed reading of webhook bodies), `github_like` (parts of bodies that
//! several forges have in common), `trees` (the exact difference between two commits).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr, VariantArray};
use url::Url;

use crate::cause::Cause;
use crate::changes::{ChangeKind, ChangeSet, FilePath, Proof};
use crate::clock::ClockSkew;
use crate::event::{CommitId, Event, RepoPath, SignalKind};
use crate::http::Outbound;
use crate::run::StatusState;
use crate::settings::{Entry, Section};

mod address;
mod api;
mod body;
#[cfg(test)]
mod captured;
mod description;
pub mod gitea;
pub mod gitee;
pub mod github;
mod github_like;
pub mod gitlab;
mod headline;
mod inspection;
mod sample;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
mod trees;
mod verifier;
mod web_pages;

pub(crate) use address::is_local;
pub use address::{api_url, has_public_service, kind_of_host};
pub use body::named_repo;
pub use headline::{Headline, headline};
pub use inspection::{LastDelivery, RepoAccess, Right, Webhook};
pub use sample::{SampleDelivery, SampleEvent};
pub use verifier::{BodyVerifier, VerifiedByHeaders};
pub use web_pages::WebPages;

/// A kind of forge, as named by `kind:`.
pub struct ForgeKind {
    /// The value of `kind:`.
    pub name: &'static str,
    /// Reads an entry under `forges:` and creates its client. None if the entry has problems, which the section has
    /// recorded.
    pub read: fn(&mut Section, &Outbound) -> Option<Arc<dyn Forge>>,
    /// The entry that `purgehook init` writes. Its first variable is the webhook's secret.
    pub entry: Entry,
}

/// All kinds of forges.
pub const KINDS: &[ForgeKind] = &[github::KIND, gitlab::KIND, gitea::KIND, gitee::KIND];

/// The headers of a webhook request, with lower-case names and values as bytes.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// Collects headers and converts their names to lower case.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
                .collect(),
        )
    }

    /// The value of a header, by its lower-case name. None if the header is missing or repeated: no forge repeats a
    /// header, and choosing a value would be a guess.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut values = self
            .0
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_slice());
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.trim_ascii()),
            _ => None,
        }
    }

    /// The value of a header as text; none if it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Whether the header is present, even if repeated.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// The value of a header that names a delivery or an event: at most [`MAX_NAME`] printable ASCII characters, so
    /// that it can be stored and logged. None for anything else.
    pub fn name(&self, header: &str) -> Option<&str> {
        let text = self.text(header)?;
        let printable = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        (!text.is_empty() && text.len() <= MAX_NAME && printable).then_some(text)
    }
}

/// The maximum length of a delivery id or event name in characters. Forges send GUIDs and a word or two.
pub const MAX_NAME: usize = 255;

/// The envelope of a verified delivery: a request that passed its [`Forge::verifier`], or a delivery that the
/// forge's API returned on an authenticated connection.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The forge's id of the delivery, which a redelivery keeps. Not every forge signs it.
    pub delivery_id: Option<String>,
    /// The forge's name of the event, e.g. `push` or `Push Hook`. Empty if the request names none.
    pub event: String,
}

/// The deliveries to one webhook according to the forge's log, newest first.
#[derive(Clone, Debug)]
pub struct DeliveryLog {
    /// Whether it also covers other repositories, as the log of an App's webhook does.
    pub of_all: bool,
    /// The deliveries. A redelivery is a further entry.
    pub deliveries: Vec<LoggedDelivery>,
}

/// An entry of a [`DeliveryLog`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedDelivery {
    /// Its position in the log, in a form that only the forge's module reads.
    pub place: String,
    /// The forge's id of the delivery, as in [`Verified::delivery_id`].
    pub id: String,
    /// The event's name, as in [`Verified::event`].
    pub event: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The HTTP status of our answer; none if there was none.
    pub answered: Option<u16>,
}

/// A delivery read from a forge's log. Its body has the content of the one that was sent, but is serialized again,
/// so no signature matches it.
#[derive(Clone, Debug)]
pub struct SentDelivery {
    /// The delivery's envelope.
    pub verified: Verified,
    /// The body's content type: one of [`Forge::content_types`].
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a request was rejected. The text does not help an attacker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 401: the signature or token is missing.
    #[error("{0}")]
    Unsigned(String),
    /// 401: the signature or token is wrong, or too old.
    #[error("{0}")]
    BadSignature(String),
    /// 401: the request contains the right secret, but not in the way that is configured.
    #[error("{0}")]
    OtherMode(String),
}

/// Why an authentic body could not be parsed: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A status to post on a commit.
#[derive(Clone, Debug)]
pub struct StatusPost {
    /// The state that the commit shows.
    pub state: StatusState,
    /// Distinguishes the status from the commit's others.
    pub context: String,
    /// One line; the forge's module truncates it to the forge's limit.
    pub description: String,
    /// The link: the run's page. None if no public address is configured.
    pub target_url: Option<String>,
    /// The branch or tag without `refs/...`, for forges that require it.
    pub ref_name: String,
    /// The number of pending statuses posted on the commit since its last final one, for forges that limit it.
    pub pending_before: usize,
}

/// What a commit shows after a status was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// The status as it was posted.
    Posted,
    /// The new state with the earlier text: the forge accepts no other text for now, for this reason.
    KeptEarlierText(&'static str),
}

/// The error of a call to a forge, by what to do about it.
#[derive(Debug, Clone)]
pub enum ForgeError {
    /// Try again later; the request itself may be fine.
    Later {
        /// What failed.
        message: String,
        /// How long the forge asked to wait.
        retry_after: Option<Duration>,
        /// The HTTP client's error, if there was no answer.
        cause: Cause,
    },
    /// The commit or repository does not exist, or the token may not see it.
    Gone(String),
    /// Trying again is useless until a person changes something.
    Refused(String),
    /// Every such request about the repository is refused until a person changes something.
    Denied {
        /// What the person has to change.
        denial: Denial,
        /// What happened, to what, and what to do.
        message: String,
    },
}

/// Why a forge denies requests about a repository until a person changes something, by its name in the metrics and the
/// database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Denial {
    /// The token has expired, or is not valid at this forge.
    Token,
    /// The token lacks a permission.
    Permission,
    /// The repository does not exist under its name, or the token may not see it.
    Repository,
}

impl Denial {
    /// Its name in the metrics and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later { message, .. }
            | Self::Gone(message)
            | Self::Refused(message)
            | Self::Denied { message, .. } => f.write_str(message),
        }
    }
}

impl Error for ForgeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Later { cause, .. } => cause.source(),
            Self::Gone(_) | Self::Refused(_) | Self::Denied { .. } => None,
        }
    }
}

impl ForgeError {
    /// Whether the forge could not be reached or failed to answer. A forge that says when to come back has
    /// answered.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Later { retry_after, .. } => retry_after.is_none(),
            Self::Gone(_) | Self::Refused(_) | Self::Denied { .. } => false,
        }
    }
}

/// What an event may start, judged by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A run of a site with `trigger: push`.
    Push,
    /// A run of a site whose trigger is this signal.
    Signal(SignalKind),
    /// Never a run.
    Nothing,
}

/// One forge, as configured by an entry under `forges:`.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The value of `kind:`.
    fn kind(&self) -> &'static str;

    /// The addresses of its web pages, if they are known.
    fn pages(&self) -> Option<&WebPages> {
        None
    }

    /// Whether a push's body contains the time of the push, so that two pushes in different seconds never have the same bytes.
    fn dates_pushes(&self) -> bool {
        false
    }

    /// The signals that the forge can send, apart from pushes, which every forge sends.
    fn signals(&self) -> &'static [SignalKind];

    /// Whether repositories may be in nested groups. Otherwise their names consist of an owner and a name.
    fn nests_repositories(&self) -> bool {
        false
    }

    /// Whether environment names are compared without regard to case.
    fn ignores_case_of_environments(&self) -> bool {
        false
    }

    /// What an event with this name may start, whatever its body says. Only the bodies of pushes must be valid.
    fn event_kind(&self, event: &str) -> EventKind {
        let _ = event;
        EventKind::Push
    }

    /// The content types that [`Forge::understand`] accepts, in lower case and without parameters. Other requests
    /// are answered with 415.
    fn content_types(&self) -> &'static [&'static str];

    /// The verifier for a request, which checks its headers and the raw bytes of its body before the body is
    /// parsed.
    ///
    /// # Errors
    ///
    /// The headers alone show that the request does not come from the forge.
    fn verifier(&self, headers: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal>;

    /// Verifies a request with its complete body.
    ///
    /// # Errors
    ///
    /// The request does not come from the forge.
    fn verify(&self, headers: &Headers, body: &[u8]) -> Result<Verified, Refusal> {
        let mut verifier = self.verifier(headers)?;
        verifier.update(body);
        verifier.finish()
    }

    /// Parses an authentic request. `content_type` is the header's value without parameters, in lower case: one of
    /// [`Forge::content_types`].
    fn understand(
        &self,
        verified: &Verified,
        content_type: &str,
        body: &[u8],
    ) -> Result<Event, Malformed>;

    /// Checks that a repository of this name exists and that the token may see it. If not, [`ForgeError::Gone`].
    async fn find_repo(&self, _repo: &RepoPath) -> Result<(), ForgeError> {
        Ok(())
    }

    /// The paths that differ between two commits' trees, or unknown if the forge cannot prove that the list is
    /// complete.
    async fn changes(
        &self,
        repo: &RepoPath,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<ChangeSet, ForgeError>;

    /// The paths of all files in a commit's tree, including submodules. None if the forge cannot list them in a few
    /// requests; never only some of them.
    async fn files(
        &self,
        _repo: &RepoPath,
        _commit: &CommitId,
    ) -> Result<Option<Vec<FilePath>>, ForgeError> {
        Ok(None)
    }

    /// Resolves a name to a commit: a tag (an annotated one to the commit that it points to), a branch, or the
    /// first digits of an id. [`ForgeError::Gone`] if there is no such name.
    async fn resolve(&self, repo: &RepoPath, name: &str) -> Result<CommitId, ForgeError>;

    /// The commit at the head of a branch, even if a tag has the same name.
    async fn branch_head(&self, repo: &RepoPath, branch: &str) -> Result<CommitId, ForgeError> {
        self.resolve(repo, branch).await
    }

    /// The commit of the last successful deployment to an environment. None if there is none, and on forges without
    /// deployments.
    async fn environment_head(
        &self,
        repo: &RepoPath,
        environment: &str,
    ) -> Result<Option<CommitId>, ForgeError>;

    /// The log of deliveries to the webhook of a repository that calls `hook`, back to `since`. None if no webhook
    /// calls that address, and on forges without a readable log.
    async fn delivery_log(
        &self,
        _repo: &RepoPath,
        _hook: &Url,
        _since: Timestamp,
    ) -> Result<Option<DeliveryLog>, ForgeError> {
        Ok(None)
    }

    /// A delivery of [`Forge::delivery_log`] as it was sent. None if the log no longer has it.
    async fn logged_delivery(
        &self,
        _repo: &RepoPath,
        _delivery: &LoggedDelivery,
    ) -> Result<Option<SentDelivery>, ForgeError> {
        Ok(None)
    }

    /// What the token may do with a repository and, if branches have their own permissions, with these branches, as
    /// far as the API tells. Sends only read requests.
    async fn repo_access(
        &self,
        _repo: &RepoPath,
        _branches: &[&str],
    ) -> Result<RepoAccess, ForgeError> {
        Ok(RepoAccess::untold("this forge does not report it"))
    }

    /// The webhooks that may send events of a repository, in detail for those that call `hook`. If the token may
    /// not list them, an error that is no outage.
    async fn webhooks(&self, repo: &RepoPath, _hook: &Url) -> Result<Vec<Webhook>, ForgeError> {
        Err(ForgeError::Refused(format!(
            "this forge does not list the webhooks of {repo}"
        )))
    }

    /// A sample delivery in the forge's format, signed with the webhook's first secret, that names an event but
    /// starts nothing. None without a secret, and for signals that the forge does not send.
    fn sample(
        &self,
        _repo: &RepoPath,
        _event: SampleEvent<'_>,
        _id: &str,
    ) -> Option<SampleDelivery> {
        None
    }

    /// How far the forge's clock differed from ours at its last answer. None before the first one, and if no
    /// signature or token depends on the time.
    fn clock_skew(&self) -> Option<ClockSkew> {
        None
    }

    /// Posts a status. Posting what the commit already shows is no error.
    async fn post_status(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Result<PostOutcome, ForgeError>;
}

/// A complete change set of `files`, or an unknown one if a path may be wrong.
///
/// Git's paths are bytes, but a forge's JSON contains only text: a path that is not UTF-8 has replacement
/// characters in it, and the real path is lost.
fn complete(proof: Proof, files: BTreeMap<FilePath, ChangeKind>) -> ChangeSet {
    match files.keys().find(|path| is_lossy(path.as_bytes())) {
        Some(path) => ChangeSet::unknown(format!(
            "the path `{path}` is not UTF-8, and the forge's API cannot say it exactly"
        )),
        None => ChangeSet::Complete { proof, files },
    }
}

/// Whether a path read from JSON may have had other bytes.
fn is_lossy(path: impl AsRef<[u8]>) -> bool {
    let path = path.as_ref();
    path.windows(REPLACEMENT.len()).any(|w| w == REPLACEMENT)
}

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Adds one side of a change: a path that is removed and added is modified.
fn note(files: &mut BTreeMap<FilePath, ChangeKind>, path: &str, kind: ChangeKind) {
    files
        .entry(FilePath::new(path))
        .and_modify(|noted| {
            if *noted != kind {
                *noted = ChangeKind::Modified;
            }
        })
        .or_insert(kind);
}
