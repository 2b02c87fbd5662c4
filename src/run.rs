//! A run: the work for one site at one commit, from the event to the last status.

mod changes;

use std::fmt;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::account::AccountId;
use crate::changes::Completeness;
use crate::event::{CommitId, CommitRef, GitRef, RepoPath, SignalKind};

pub use changes::{Link, RunChanges, Shares};

/// Identifies a run in links, the API and the database; sorts by creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a run, by its name in the API and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    /// In progress.
    Pending,
    /// Every purge was confirmed by its CDN.
    Succeeded,
    /// A CDN refused or failed a purge, or did not confirm it in time.
    Failed,
    /// purgehook itself, or its configuration, could not do the work.
    Errored,
    /// A newer run does the work of this one.
    Superseded,
    /// A person stopped it.
    Cancelled,
}

impl RunState {
    /// Its name in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the run has ended; only a retry can change it.
    pub fn is_final(self) -> bool {
        self != Self::Pending
    }

    /// Whether the run can be retried: it ended without success.
    pub fn can_be_retried(self) -> bool {
        matches!(self, Self::Failed | Self::Errored)
    }
}

/// The current step of a pending run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RunStep {
    /// Computing the change set and the plan.
    Changes,
    /// Submitting and following its purges.
    Purging,
    /// Nothing is left to do.
    Ended,
}

impl RunStep {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a delivery compared with the newest one of its branch when it arrived, by its name in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Arrival {
    /// It begins where that delivery ended, or it is no push.
    InOrder,
    /// It begins elsewhere: it is late or old, or the delivery before it was lost.
    OutOfOrder,
    /// It has the bytes of an earlier delivery and begins where the newest one ended: either the branch made the same
    /// move again, or someone sent the earlier delivery again.
    Repeated,
}

impl Arrival {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a run was started, by its name in the API and the database.
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
    /// The forge has a commit without a run.
    Reconciliation,
    /// A person asked to purge what changed.
    #[strum(serialize = "by hand")]
    Manual,
    /// A person asked to purge everything.
    #[strum(serialize = "everything by hand")]
    ManualEverything,
}

impl Origin {
    /// Whether the origin serves something new, even if the commit is the same.
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

    /// Its name in the API and the database.
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

/// A commit that caches may hold, and that a change set starts from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// A known commit.
    Commit(CommitId),
    /// The unknown commit that was live before the first event.
    Unknown,
}

impl Base {
    const UNKNOWN: &str = "unknown";

    /// The commit, if it is known.
    pub fn commit(&self) -> Option<&CommitId> {
        match self {
            Self::Commit(id) => Some(id),
            Self::Unknown => None,
        }
    }

    /// The commit's id, or the word for the unknown commit, in an export and the database.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Commit(id) => id.as_str(),
            Self::Unknown => Self::UNKNOWN,
        }
    }

    /// Parses the result of [`as_str`](Self::as_str).
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            Self::UNKNOWN => Some(Self::Unknown),
            id => CommitId::parse(id).map(Self::Commit),
        }
    }
}

/// What a run waits for outside purgehook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The renewal of a CDN's daily quota.
    Quota {
        /// When it is renewed.
        renewed_at: Timestamp,
    },
    /// The renewal of a CDN's daily quota, or quota that is reserved for other sites now.
    QuotaShare {
        /// When it is renewed.
        renewed_at: Timestamp,
    },
    /// A forge that denies read requests.
    Denied {
        /// When it denied the first request.
        since: Timestamp,
    },
    /// A CDN that does not answer.
    CircuitOpen {
        /// The account, by the CDN's name for it.
        account: AccountId,
        /// When it stopped answering.
        since: Timestamp,
    },
}

/// The work for one site at one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The site, by its name under `sites:`.
    pub site: String,
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The repository's path on that forge.
    pub repo: RepoPath,
    /// The branch or tag that moved or was deployed, if the forge names it.
    pub git_ref: Option<GitRef>,
    /// The commit of the ref before, if it had one.
    pub before: Option<CommitId>,
    /// The commit that the CDNs shall serve, and that the run's statuses are posted on. It may be a name until the
    /// first step has resolved it.
    pub commit: CommitRef,
    /// The delivery that started it, if any.
    pub delivery: Option<String>,
    /// Why it was started.
    pub origin: Origin,
    /// The newer run that does this one's work.
    pub covered_by: Option<RunId>,
    /// The commits that caches might have held, from which its change set starts.
    pub bases: Vec<Base>,
    /// The version of the site's held commits that its plan created.
    pub held_version: Option<i64>,
    /// Its state.
    pub state: RunState,
    /// Its current step.
    pub step: RunStep,
    /// One sentence about its state or result.
    pub summary: String,
    /// Whether its change set is complete; none before it was computed.
    pub proof: Option<Completeness>,
    /// Sentences about what should be purged but cannot be; the run fails because of them.
    pub problems: Vec<String>,
    /// Other sentences about its plan, such as directories that replace URLs, or paths that no rule matches.
    pub notes: Vec<String>,
    /// How its delivery compared with the newest one of its branch.
    pub arrival: Arrival,
    /// Whether its site was in dry-run mode when it was planned.
    pub dry_run: bool,
    /// What it waits for, if its summary says so.
    pub waits_for: Option<WaitReason>,
    /// How often it has changed in the store. [`Write::Run`](crate::store::Write::Run) fails if the row has changed
    /// since it was read.
    pub revision: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it fails if it is still pending.
    pub deadline: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Run {
    /// Whether a newer run of its site can do its work: it names the commit that was live before, and its own.
    pub fn can_be_superseded(&self) -> bool {
        let names_both = self.before.is_some() && self.commit.id().is_some();
        names_both && self.origin != Origin::ManualEverything
    }
}

/// The state that a commit shows for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StatusState {
    /// In progress.
    Pending,
    /// Every purge was confirmed (or there was nothing to purge).
    Success,
    /// A CDN did not do what it was asked to.
    Failure,
    /// purgehook could not do its work.
    Error,
}

impl StatusState {
    /// Its name in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
