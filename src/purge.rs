//! A purge: one URL or one directory to invalidate on one CDN, or one URL to fill.

use crate::run::RunId;

/// What is to be done with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PurgeKind {
    /// Invalidate one URL.
    Url,
    /// Invalidate everything below a directory's URL.
    Directory,
    /// Fill the caches with one URL.
    Prefetch,
}

impl PurgeKind {
    /// Every kind.
    pub const ALL: [PurgeKind; 3] = [Self::Url, Self::Directory, Self::Prefetch];

    /// The word in the API and the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Directory => "directory",
            Self::Prefetch => "prefetch",
        }
    }

    /// The kind a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// How a directory is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Only what changed at the origin.
    Flush,
    /// Everything in it.
    Delete,
}

impl Mode {
    /// The word in rules.yaml and the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Delete => "delete",
        }
    }

    /// The mode a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Flush, Self::Delete]
            .into_iter()
            .find(|mode| mode.word() == word)
    }
}

/// How a purge stands.
///
/// `Waiting -> Planned -> Submitting -> Running -> Done | Failed`; a batch that
/// was not accepted goes back from `Submitting` to `Planned`. Where the site is
/// only observed, it is `Observed` and nothing else ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeState {
    /// A prefetch whose purge is not done yet.
    Waiting,
    /// To be submitted.
    Planned,
    /// In a batch that is on its way to the CDN, accepted or not.
    Submitting,
    /// Accepted by the CDN, not confirmed yet.
    Running,
    /// Confirmed by the CDN.
    Done,
    /// Refused, failed, or not confirmed in time.
    Failed,
    /// It would have been submitted, were its site not only observed.
    Observed,
}

impl PurgeState {
    /// Every state, in the order of a purge's life.
    pub const ALL: [PurgeState; 7] = [
        Self::Waiting,
        Self::Planned,
        Self::Submitting,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Observed,
    ];

    /// The word in the API and the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Planned => "planned",
            Self::Submitting => "submitting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Observed => "observed",
        }
    }

    /// The state a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing more will happen to it by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Observed)
    }
}

/// What a plan asks for: one purge on one CDN, with the rule and the path that asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedPurge {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// What is to be done.
    pub kind: PurgeKind,
    /// The full URL; a directory's ends in `/`.
    pub target: String,
    /// For a directory: how, where a rule says so.
    pub mode: Option<Mode>,
    /// The rule that asked first.
    pub rule: String,
    /// The path that asked first; none where no single path did.
    pub path: Option<String>,
}

/// A purge on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Its number.
    pub id: i64,
    /// The run it belongs to.
    pub run: RunId,
    /// What was planned.
    pub planned: PlannedPurge,
    /// How it stands.
    pub state: PurgeState,
    /// The CDN's task id, once it has one.
    pub task: Option<String>,
    /// Why it failed, or what its last try met with.
    pub error: Option<String>,
    /// How often it was submitted.
    pub attempts: i64,
}
