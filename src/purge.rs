//! A purge: one URL or one directory to invalidate on one CDN, or one URL to fill.

use std::fmt;

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
/// in dry-run mode, it is `DryRun` and nothing else ever.
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
    /// It would have been submitted, were its site not in dry-run mode.
    DryRun,
}

impl PurgeState {
    /// The word in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether nothing more will happen to it by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::DryRun)
    }
}

/// Why a purge that failed is not asked for again by later runs, until its path changes or someone retries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum GivenUp {
    /// The CDN refused this target by itself, or failed at it each time.
    Refused,
    /// A person said so.
    Skipped,
}

impl GivenUp {
    /// The word in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
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

/// What a CDN calls one task of a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskId {
    /// The id that the CDN gave the task.
    Vendor(String),
    /// The id of the task's entry in the CDN's log, where the task itself has none.
    LogEntry(String),
}

/// Stands in front of the id of a log's entry. No vendor's id holds a colon or a comma.
const LOG_ENTRY: &str = "log:";

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vendor(id) => f.write_str(id),
            Self::LogEntry(id) => write!(f, "{LOG_ENTRY}{id}"),
        }
    }
}

/// What a CDN calls a batch: one task usually, several where it splits a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskIds(Vec<TaskId>);

impl TaskIds {
    /// The ids of a batch's tasks; none where there are none.
    pub fn new(ids: impl IntoIterator<Item = TaskId>) -> Option<Self> {
        let ids = Vec::from_iter(ids);
        (!ids.is_empty()).then_some(Self(ids))
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let ids = text.split(',').filter(|id| !id.is_empty());
        Self::new(ids.map(|id| match id.strip_prefix(LOG_ENTRY) {
            Some(entry) => TaskId::LogEntry(entry.to_owned()),
            None => TaskId::Vendor(id.to_owned()),
        }))
    }

    /// Each id.
    pub fn iter(&self) -> impl Iterator<Item = &TaskId> {
        self.0.iter()
    }

    /// The ids that the CDN gave tasks.
    pub fn vendor_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|id| match id {
            TaskId::Vendor(id) => Some(id.as_str()),
            TaskId::LogEntry(_) => None,
        })
    }
}

impl From<TaskId> for TaskIds {
    fn from(id: TaskId) -> Self {
        Self(vec![id])
    }
}

/// The form in the API and the database.
impl fmt::Display for TaskIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            id.fmt(f)?;
        }
        Ok(())
    }
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
    /// What the CDN calls the batch it is in, once that is known.
    pub task: Option<TaskIds>,
    /// Why it failed, or what its last try met with.
    pub error: Option<String>,
    /// How often it was submitted.
    pub attempts: i64,
    /// Whether later runs leave it out, of one that failed.
    pub given_up: Option<GivenUp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batchs_ids_come_back_as_they_were_written() {
        let ids = [
            TaskId::Vendor("1490877261".to_owned()),
            TaskId::LogEntry("41".to_owned()),
        ];
        let ids = TaskIds::new(ids).unwrap();

        assert_eq!(ids.to_string(), "1490877261,log:41");
        assert_eq!(TaskIds::parse(&ids.to_string()), Some(ids));
        assert_eq!(TaskIds::parse(""), None);
    }
}
