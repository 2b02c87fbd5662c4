//! Forges: the git hosts that send webhooks and take commit statuses.
//!
//! To add one, write its module and add its line to [`KINDS`]. What forges share
//! stands beside them: `api` (requests and what their errors mean), `body`
//! (typed reading of webhook bodies), `shapes` (parts of them that several have), `trees` (the exact difference of two commits).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
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

/// A kind of forge, as `kind:` names it.
pub struct ForgeKind {
    /// The word behind `kind:`.
    pub name: &'static str,
    /// Reads an entry under `forges:` and makes its client. None when the entry has problems, which the section has noted.
    pub read: fn(&mut Section, &Outbound) -> Option<Arc<dyn Forge>>,
    /// What `purgehook init` writes of it. The first variable is the webhook's secret.
    pub entry: Entry,
}

/// Every kind of forge there is.
pub const KINDS: &[ForgeKind] = &[github::KIND, gitlab::KIND, gitea::KIND, gitee::KIND];

/// The headers of a webhook request: names in lower case, values as bytes.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// Collects headers; names are put into lower case.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
                .collect(),
        )
    }

    /// The one value of a header (named in lower case). None if it is missing or
    /// came more than once: no forge repeats a header, and which one counts would be a guess.
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

    /// The one value of a header as text; none if it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Whether the header came at all, however often.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// The one value of a header that names something (a delivery, an event):
    /// at most [`MAX_NAME`] printable ASCII characters. None for anything else, so that it can be stored and logged.
    pub fn name(&self, header: &str) -> Option<&str> {
        let text = self.text(header)?;
        let printable = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        (!text.is_empty() && text.len() <= MAX_NAME && printable).then_some(text)
    }
}

/// The most characters of a delivery's id or an event's name. Forges send GUIDs and a word or two.
pub const MAX_NAME: usize = 255;

/// What came from the forge itself: a request that passed its [`Forge::verifier`], or a
/// delivery that the forge's API gave on an authenticated connection.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The forge's own id of the delivery, the same when it is sent again. Not signed by every forge.
    pub delivery_id: Option<String>,
    /// The event's name as the forge has it, e.g. `push` or `Push Hook`. Empty when the request names none.
    pub event: String,
}

/// What a forge's log says it sent to one webhook, newest first.
#[derive(Clone, Debug)]
pub struct DeliveryLog {
    /// Whether it tells of other repositories, too, as the log of an App's webhook does.
    pub of_all: bool,
    /// The deliveries; one that was sent again is there again.
    pub deliveries: Vec<LoggedDelivery>,
}

/// A line of a [`DeliveryLog`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedDelivery {
    /// Where the log has it, in words that only the forge's module reads.
    pub place: String,
    /// The forge's id of the delivery, as in [`Verified::delivery_id`].
    pub id: String,
    /// The event's name, as in [`Verified::event`].
    pub event: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The HTTP status of the answer; none if there was none.
    pub answered: Option<u16>,
}

/// A delivery out of a forge's log. Its body means what the sent one did, but is
/// written anew: no signature fits it.
#[derive(Clone, Debug)]
pub struct SentDelivery {
    /// What it is.
    pub verified: Verified,
    /// What the body is written in: one of [`Forge::content_types`].
    pub content_type: &'static str,
    /// What it says.
    pub body: Vec<u8>,
}

/// Why a request was not let in. Says nothing that helps a forger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 401: the signature or token is missing.
    #[error("{0}")]
    Unsigned(String),
    /// 401: the signature or token is wrong, or too old.
    #[error("{0}")]
    BadSignature(String),
    /// 401: it shows the right secret in another way than the one that is waited for.
    #[error("{0}")]
    OtherMode(String),
}

/// Why an authentic body could not be understood: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A status to post on a commit.
#[derive(Clone, Debug)]
pub struct StatusPost {
    /// What the commit shows.
    pub state: StatusState,
    /// Names the status among the commit's others.
    pub context: String,
    /// One line; the forge's module cuts it to the forge's limit.
    pub description: String,
    /// Where a click leads: the run's page. None when no public address is configured.
    pub target_url: Option<String>,
    /// The branch or tag without `refs/...`, for forges that ask for it.
    pub ref_name: String,
    /// How many pending texts the commit has been shown since it was shown an end, for forges that take only so many.
    pub pending_before: usize,
}

/// What a commit shows once a status was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// The status as it was posted.
    Posted,
    /// The status' state, with the text that was posted before: the forge takes no other for now, for this reason.
    KeptEarlierText(&'static str),
}

/// What went wrong with a call to a forge, by what to do about it.
#[derive(Debug, Clone)]
pub enum ForgeError {
    /// Try again later; nothing is known to be wrong with the request.
    Later {
        /// What happened, to what.
        message: String,
        /// How long the forge asked to be sent no requests.
        retry_after: Option<Duration>,
        /// The HTTP client's error, where there was no answer.
        cause: Cause,
    },
    /// The commit or repository is not there, or the token may not see it.
    Gone(String),
    /// Trying again is no use until a person changes something.
    Refused(String),
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later { message, .. } | Self::Gone(message) | Self::Refused(message) => {
                f.write_str(message)
            }
        }
    }
}

impl Error for ForgeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Later { cause, .. } => cause.source(),
            Self::Gone(_) | Self::Refused(_) => None,
        }
    }
}

impl ForgeError {
    /// Whether the forge could not be reached or did not get to an answer. One that
    /// says when to come back has answered.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Later { retry_after, .. } => retry_after.is_none(),
            Self::Gone(_) | Self::Refused(_) => false,
        }
    }
}

/// What an event may start, by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A run of a site that waits for pushes.
    Push,
    /// A run of a site that waits for such a signal.
    Signal(SignalKind),
    /// No run, ever.
    Nothing,
}

/// One forge, as an entry under `forges:` configures it.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The word behind `kind:`.
    fn kind(&self) -> &'static str;

    /// Its pages for people, where it is known where they are.
    fn pages(&self) -> Option<&WebPages> {
        None
    }

    /// What the forge can tell of, apart from pushes, which each of them does.
    fn signals(&self) -> &'static [SignalKind];

    /// Whether repositories may lie in groups of groups. Elsewhere, they are named by an owner and a name.
    fn nests_repositories(&self) -> bool {
        false
    }

    /// Whether the names of environments that differ in the case of their letters alone are one environment.
    fn ignores_case_of_environments(&self) -> bool {
        false
    }

    /// What an event of a name may start, whatever its body says. Events whose bodies have to make sense are pushes.
    fn event_kind(&self, event: &str) -> EventKind {
        let _ = event;
        EventKind::Push
    }

    /// The content types whose bodies [`Forge::understand`] takes, in lower case
    /// and without parameters. A request with any other is answered 415.
    fn content_types(&self) -> &'static [&'static str];

    /// What checks that a request comes from the forge, from its headers and the
    /// raw bytes of its body, before anything in the body is looked at.
    ///
    /// # Errors
    ///
    /// The headers alone say that it does not.
    fn verifier(&self, headers: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal>;

    /// Checks a request whose body is there in one piece.
    ///
    /// # Errors
    ///
    /// It does not come from the forge.
    fn verify(&self, headers: &Headers, body: &[u8]) -> Result<Verified, Refusal> {
        let mut verifier = self.verifier(headers)?;
        verifier.update(body);
        verifier.finish()
    }

    /// What an authentic request says. `content_type` is the header's value
    /// without parameters, in lower case: one of [`Forge::content_types`].
    fn understand(
        &self,
        verified: &Verified,
        content_type: &str,
        body: &[u8],
    ) -> Result<Event, Malformed>;

    /// The paths that differ between two commits' trees, as far as the forge can prove that it is all of them.
    async fn changes(
        &self,
        repo: &RepoPath,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<ChangeSet, ForgeError>;

    /// The paths of all files in a commit's tree, submodules among them. None where the forge does not list
    /// them in a few requests; it is never a part of them.
    async fn files(
        &self,
        _repo: &RepoPath,
        _commit: &CommitId,
    ) -> Result<Option<Vec<FilePath>>, ForgeError> {
        Ok(None)
    }

    /// The commit that a name stands for: a tag (an annotated one stands for the commit it
    /// points to), a branch, or the first digits of an id. Nothing of the name: [`ForgeError::Gone`].
    async fn resolve(&self, repo: &RepoPath, name: &str) -> Result<CommitId, ForgeError>;

    /// The commit at the head of a branch, even where a tag has the same name.
    async fn branch_head(&self, repo: &RepoPath, branch: &str) -> Result<CommitId, ForgeError> {
        self.resolve(repo, branch).await
    }

    /// The commit that was deployed last, with success, to an environment.
    /// None where none was, and on forges that know no deployments.
    async fn environment_head(
        &self,
        repo: &RepoPath,
        environment: &str,
    ) -> Result<Option<CommitId>, ForgeError>;

    /// What the forge's log says it sent to the webhook of a repository that calls
    /// `hook`, back to `since`. None where no webhook calls that address, and on
    /// forges that keep no log that can be read.
    async fn delivery_log(
        &self,
        _repo: &RepoPath,
        _hook: &Url,
        _since: Timestamp,
    ) -> Result<Option<DeliveryLog>, ForgeError> {
        Ok(None)
    }

    /// A delivery of [`Forge::delivery_log`] as it was sent. None where the log does not have that.
    async fn logged_delivery(
        &self,
        _repo: &RepoPath,
        _delivery: &LoggedDelivery,
    ) -> Result<Option<SentDelivery>, ForgeError> {
        Ok(None)
    }

    /// What the token may do with a repository and, where branches have rights of their own, with these branches, as
    /// far as the API tells. Only questions are asked.
    async fn repo_access(
        &self,
        _repo: &RepoPath,
        _branches: &[&str],
    ) -> Result<RepoAccess, ForgeError> {
        Ok(RepoAccess::untold("this forge says nothing of it"))
    }

    /// The webhooks that may tell of a repository, with all there is to know of those that call `hook`. An error
    /// that is no outage where the token may not see them.
    async fn webhooks(&self, repo: &RepoPath, _hook: &Url) -> Result<Vec<Webhook>, ForgeError> {
        Err(ForgeError::Refused(format!(
            "this forge does not list the webhooks of {repo}"
        )))
    }

    /// A delivery in the forge's own form, signed with the first of the webhook's secrets, that tells of something
    /// and starts nothing. None where there is no secret, and for what the forge does not tell of.
    fn sample(
        &self,
        _repo: &RepoPath,
        _event: SampleEvent<'_>,
        _id: &str,
    ) -> Option<SampleDelivery> {
        None
    }

    /// How far the forge's clock was from ours at its newest answer. None before the first one, and where nothing
    /// between us and the forge goes by the time.
    fn clock_skew(&self) -> Option<ClockSkew> {
        None
    }

    /// Posts a status. Posting what the commit shows already is no error.
    async fn post_status(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Result<PostOutcome, ForgeError>;
}

/// A change set of all of `files`, unless one of their paths cannot be trusted.
///
/// Git's paths are bytes, and a forge's JSON can only say text: where a path is
/// not UTF-8 it stands there with replacement characters, and the real one is lost.
fn complete(proof: Proof, files: BTreeMap<FilePath, ChangeKind>) -> ChangeSet {
    match files.keys().find(|path| is_lossy(path.as_bytes())) {
        Some(path) => ChangeSet::unknown(format!(
            "the path `{path}` is not UTF-8, and the forge's API cannot say it exactly"
        )),
        None => ChangeSet::Complete { proof, files },
    }
}

/// Whether a path that came as JSON may have been other bytes.
fn is_lossy(path: impl AsRef<[u8]>) -> bool {
    let path = path.as_ref();
    path.windows(REPLACEMENT.len()).any(|w| w == REPLACEMENT)
}

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Notes one side of a change: a path that is removed and added is modified.
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
