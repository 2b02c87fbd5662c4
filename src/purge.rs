//! A purge: one URL or directory to invalidate on one CDN, or one URL to prefetch.

use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::run::RunId;

/// What to do with the target.
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
    /// Fetch one URL into the caches.
    Prefetch,
}

impl PurgeKind {
    /// Its name in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a directory is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// Only the objects that changed at the origin.
    Flush,
    /// Everything in the directory.
    Delete,
}

impl Mode {
    /// Its name in rules.yaml and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The state of a purge.
///
/// `Waiting -> Planned -> Submitting -> Running -> Done | Failed`. If its batch is not accepted, it returns from
/// `Submitting` to `Planned`. In dry-run mode it is always `DryRun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PurgeState {
    /// A prefetch whose purge has not ended.
    Waiting,
    /// Waiting to be submitted.
    Planned,
    /// In a batch that is being sent; whether the CDN accepted it is not known.
    Submitting,
    /// Accepted by the CDN, not confirmed yet.
    Running,
    /// Confirmed by the CDN.
    Done,
    /// Refused, failed, or not confirmed in time.
    Failed,
    /// Not submitted because the site is in dry-run mode.
    DryRun,
}

impl PurgeState {
    /// Its name in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the purge has ended; only a retry can change it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::DryRun)
    }
}

/// Why later runs do not request a failed purge again until its path changes or a person retries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum GivenUp {
    /// The CDN refused this target individually, or failed at it each time.
    Refused,
    /// A person skipped it.
    Skipped,
}

impl GivenUp {
    /// Its name in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One purge of a plan, with the rule and the path that require it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedPurge {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// What to do with the target.
    pub kind: PurgeKind,
    /// The full URL; that of a directory ends in `/`.
    pub target: String,
    /// For a directory: how to purge it, if a rule says so.
    pub mode: Option<Mode>,
    /// The first rule that requires it.
    pub rule: String,
    /// The first path that requires it; none if no single path does.
    pub path: Option<String>,
}

/// A CDN's id for one task of a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskId {
    /// The CDN's id of the task.
    Vendor(String),
    /// The id of the task's entry in the CDN's log, if the task has no id of its own.
    LogEntry(String),
}

/// The prefix for the id of a log entry. No vendor's id contains a colon or a comma.
const LOG_ENTRY: &str = "log:";

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vendor(id) => f.write_str(id),
            Self::LogEntry(id) => write!(f, "{LOG_ENTRY}{id}"),
        }
    }
}

/// A CDN's ids for a batch: usually one task, several if the CDN splits the batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskIds(Vec<TaskId>);

impl TaskIds {
    /// The ids of a batch's tasks; none where there are none.
    pub fn new(ids: impl IntoIterator<Item = TaskId>) -> Option<Self> {
        let ids = Vec::from_iter(ids);
        (!ids.is_empty()).then_some(Self(ids))
    }

    /// Parses the result of `Display`.
    pub fn parse(text: &str) -> Option<Self> {
        let ids = text.split(',').filter(|id| !id.is_empty());
        Self::new(ids.map(|id| match id.strip_prefix(LOG_ENTRY) {
            Some(entry) => TaskId::LogEntry(entry.to_owned()),
            None => TaskId::Vendor(id.to_owned()),
        }))
    }

    /// All ids.
    pub fn iter(&self) -> impl Iterator<Item = &TaskId> {
        self.0.iter()
    }

    /// The ids that the CDN gave to tasks, without those of log entries.
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

/// The text in the API and the database.
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

/// A purge of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Its number in the run.
    pub id: i64,
    /// The run it belongs to.
    pub run: RunId,
    /// The planned purge.
    pub planned: PlannedPurge,
    /// Its state.
    pub state: PurgeState,
    /// The CDN's ids of its batch, once known.
    pub task: Option<TaskIds>,
    /// Why it failed, or the error of the last try.
    pub error: Option<String>,
    /// How often it was submitted.
    pub attempts: i64,
    /// For a purge that failed: whether later runs leave it out.
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
