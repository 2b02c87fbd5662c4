//! A run: the work for one site at one commit, from the event to the last status.

mod changes;

use std::fmt;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::account::AccountId;
use crate::changes::Completeness;
use crate::event::{CommitId, CommitRef, GitRef, RepoPath, SignalKind};

pub use changes::{Link, RunChanges, Shares};

/// Names a run in links, the API and the database; sorts by creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a run stands. The words are those of the API and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    /// Under way.
    Pending,
    /// Every purge was confirmed by its CDN.
    Succeeded,
    /// A CDN refused or failed a purge, or did not confirm it in time.
    Failed,
    /// purgehook itself, or its configuration, could not do the work.
    Errored,
    /// A newer run covers this one's commit.
    Superseded,
    /// A person stopped it.
    Cancelled,
}

impl RunState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether nothing more will happen unless someone retries it.
    pub fn is_final(self) -> bool {
        self != Self::Pending
    }

    /// Whether a retry makes sense: it ended, and not well.
    pub fn can_be_retried(self) -> bool {
        matches!(self, Self::Failed | Self::Errored)
    }
}

/// Where a pending run is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Step {
    /// Finding out what changed, then planning.
    Changes,
    /// Its purges are being submitted and followed.
    Purging,
    /// Nothing is left to do.
    Ended,
}

impl Step {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a run came about. The words are those of the API and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// A branch moved.
    Push,
    /// A deployment succeeded.
    Deployment,
    /// A workflow succeeded.
    Workflow,
    /// A pipeline ended.
    Pipeline,
    /// A release was published.
    Release,
    /// GitHub Pages serves a new build.
    PageBuild,
    /// The forge has a commit that no run was for.
    Reconciliation,
    /// A person asked for what changed to be purged.
    #[strum(serialize = "by hand")]
    Manual,
    /// A person asked for everything to be purged.
    #[strum(serialize = "everything by hand")]
    ManualEverything,
}

impl Origin {
    /// Whether it says that the origin serves something new, even if it is the same commit once more.
    pub fn is_deployment(self) -> bool {
        match self {
            Self::Deployment
            | Self::Workflow
            | Self::Pipeline
            | Self::Release
            | Self::PageBuild => true,
            Self::Push | Self::Reconciliation | Self::Manual | Self::ManualEverything => false,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<SignalKind> for Origin {
    fn from(kind: SignalKind) -> Self {
        match kind {
            SignalKind::Deployment => Self::Deployment,
            SignalKind::Workflow => Self::Workflow,
            SignalKind::Pipeline => Self::Pipeline,
            SignalKind::Release => Self::Release,
            SignalKind::PageBuild => Self::PageBuild,
        }
    }
}

/// What a cache may hold, and a change set starts from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// A commit's content.
    Commit(CommitId),
    /// Whatever was live before any event told of it.
    Unknown,
}

impl Base {
    const UNKNOWN: &str = "unknown";

    /// The commit, where it is known.
    pub fn commit(&self) -> Option<&CommitId> {
        match self {
            Self::Commit(id) => Some(id),
            Self::Unknown => None,
        }
    }

    /// The commit's id, or the word for the unknown, in an export and the database.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Commit(id) => id.as_str(),
            Self::Unknown => Self::UNKNOWN,
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            Self::UNKNOWN => Some(Self::Unknown),
            id => CommitId::parse(id).map(Self::Commit),
        }
    }
}

/// What a run waits for outside of purgehook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// That a CDN's daily quota is renewed.
    Quota {
        /// When it is.
        renewed_at: Timestamp,
    },
    /// That a CDN's daily quota is renewed, or that other sites leave what is kept of it for them.
    QuotaShare {
        /// When it is renewed.
        renewed_at: Timestamp,
    },
    /// That a CDN answers again.
    CircuitOpen {
        /// The account with the CDN, as the CDN names it.
        account: AccountId,
        /// Since when it has not answered.
        since: Timestamp,
    },
}

/// The work for one site at one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// The site it is for, by its name under `sites:`.
    pub site: String,
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The repository's path on that forge.
    pub repo: RepoPath,
    /// The branch or tag that moved or was deployed, where the forge says so.
    pub git_ref: Option<GitRef>,
    /// Where the ref stood before, if anywhere.
    pub before: Option<CommitId>,
    /// The commit the run brings the CDNs to, and that its statuses are posted on. Until the
    /// first step has resolved it, it may be a name.
    pub commit: CommitRef,
    /// The delivery that made it, if one did.
    pub delivery: Option<String>,
    /// How it came about.
    pub origin: Origin,
    /// The newer run that does this one's work along with its own.
    pub covered_by: Option<RunId>,
    /// What its change set starts from: the commits that caches might have held.
    pub bases: Vec<Base>,
    /// The version of the site's held commits that its plan made.
    pub held_version: Option<i64>,
    /// How it stands.
    pub state: RunState,
    /// Where it is on its way.
    pub step: Step,
    /// One sentence on how it stands or ended.
    pub summary: String,
    /// Whether its change set is complete; none until it was sought.
    pub proof: Option<Completeness>,
    /// What should be purged but cannot be, in sentences: the run fails for it.
    pub problems: Vec<String>,
    /// What else there is to know about its plan, in sentences: what stands for what, what no rule is for.
    pub notes: Vec<String>,
    /// Whether it was only found out what it would purge: its site was in dry-run mode when it was planned.
    pub dry_run: bool,
    /// What it waits for, where its summary says so.
    pub waits_for: Option<WaitReason>,
    /// How often it has changed in the store. [`Write::Run`](crate::store::Write::Run) changes what was
    /// read, and nothing that has changed since.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it must have ended: a pending run past this fails.
    pub deadline: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a commit shows for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StatusState {
    /// Under way.
    Pending,
    /// Every purge was confirmed (or there was nothing to purge).
    Success,
    /// A CDN did not do what was asked.
    Failure,
    /// purgehook could not do its work.
    Error,
}

impl StatusState {
    /// The word in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
