//! A purge: one URL or one directory to invalidate on one CDN, or one URL to fill.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::run::RunId;

/// What is to be done with the target.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum PurgeKind {
    /// Invalidate one URL.
    Url,
    /// Invalidate everything below a directory's URL.
    Directory,
    /// Fill the caches with one URL.
    Prefetch,
}

impl PurgeKind {
    /// The word in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a directory is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// Only what changed at the origin.
    Flush,
    /// Everything in it.
    Delete,
}

impl Mode {
    /// The word in rules.yaml and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a purge stands.
///
/// `Waiting -> Planned -> Submitting -> Running -> Done | Failed`; a batch that
/// was not accepted goes back from `Submitting` to `Planned`. Where the site is
/// only observed, it is `Observed` and nothing else ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
    /// The word in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
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
