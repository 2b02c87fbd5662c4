//! Forges: the git hosts that send webhooks and take commit statuses.
//!
//! To add one, write its module and add its line to [`KINDS`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::changes::ChangeSet;
use crate::event::{CommitId, Event, RepoPath};
use crate::http::Outside;
use crate::run::StatusState;
use crate::settings::Section;

/// A kind of forge, as `kind:` names it.
pub struct ForgeKind {
    /// The word behind `kind:`.
    pub name: &'static str,
    /// Reads an entry under `forges:` and makes its client. None when the entry has problems, which the section has noted.
    pub read: fn(&mut Section, &Outside) -> Option<Arc<dyn Forge>>,
}

/// Every kind of forge there is.
pub const KINDS: &[ForgeKind] = &[];

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
}

/// A request that passed verification. [`Forge::verify`] is the only way to get one.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The forge's own id of the delivery, the same when it is sent again. Not signed by every forge.
    pub delivery_id: Option<String>,
    /// The event's name as the forge has it, e.g. `push` or `Push Hook`.
    pub event: String,
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
}

/// What went wrong with a call to a forge, by what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ForgeError {
    /// Try again later; nothing is known to be wrong with the request.
    #[error("{message}")]
    Later {
        /// What happened, to what.
        message: String,
        /// How long the forge asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The commit or repository is not there, or the token may not see it.
    #[error("{0}")]
    Gone(String),
    /// Trying again is no use until a person changes something.
    #[error("{0}")]
    Refused(String),
}

/// One forge, as an entry under `forges:` configures it.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The word behind `kind:`.
    fn kind(&self) -> &'static str;

    /// The content types it sends, without parameters, in lower case.
    fn content_types(&self) -> &'static [&'static str];

    /// Checks that the request comes from the forge, from its headers and the
    /// raw bytes of its body, before anything in the body is looked at.
    fn verify(&self, headers: &Headers, body: &[u8]) -> Result<Verified, Refusal>;

    /// What an authentic request says. `content_type` is the header's value without parameters, in lower case.
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

    /// Posts a status. Posting what the commit shows already is no error.
    async fn post_status(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Result<(), ForgeError>;
}
