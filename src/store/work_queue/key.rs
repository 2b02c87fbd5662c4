//! What a work item does, as a type and as columns.

use strum::{EnumString, IntoStaticStr};

use crate::account::AccountId;
use crate::purge::PurgeKind;
use crate::run::RunId;
use crate::store::StoreError;
use crate::store::database::{Row, Value};

/// What a work item does. Each key has at most one item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKey {
    /// Runs a run's next step.
    Run(RunId),
    /// Posts a run's status to the forge.
    Status(RunId),
    /// Submits an account's planned purges of one kind to its CDN.
    Submit {
        /// The account, by the CDN's name for it.
        account: AccountId,
        /// The kind of purge: each kind has its own API action and rate limit.
        kind: PurgeKind,
    },
    /// Checks whether a site's branch or environment moved without a delivery.
    Reconcile {
        /// The site.
        site: String,
    },
    /// Checks again branches or environments that moved without a delivery.
    ConfirmHeads {
        /// The site.
        site: String,
    },
    /// Removes rows that are past their retention.
    Remove,
    /// Asks a CDN for the state of an account's tasks of one kind.
    Follow {
        /// The account, by the CDN's name for it.
        account: AccountId,
        /// The kind of purge.
        kind: PurgeKind,
    },
}

/// The kinds of work, as named in the database.
#[derive(Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum WorkKind {
    Run,
    Status,
    Submit,
    Follow,
    Reconcile,
    ConfirmHeads,
    Remove,
}

/// A work item's key, column by column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) struct KeyColumns {
    pub(super) kind: &'static str,
    /// The id of a run, a site or an account; empty if there is only one item of the kind.
    pub(super) subject: String,
    /// For submissions and tasks; otherwise empty.
    pub(super) purge_kind: &'static str,
}

impl KeyColumns {
    pub(in crate::store) fn values(&self) -> [Value; 3] {
        [
            self.kind.into(),
            self.subject.as_str().into(),
            self.purge_kind.into(),
        ]
    }
}

impl WorkKey {
    pub(in crate::store) fn columns(&self) -> KeyColumns {
        let (kind, subject, purge_kind) = match self {
            Self::Run(run) => (WorkKind::Run, run.0.as_str(), None),
            Self::Status(run) => (WorkKind::Status, run.0.as_str(), None),
            Self::Submit { account, kind } => (WorkKind::Submit, account.as_str(), Some(*kind)),
            Self::Follow { account, kind } => (WorkKind::Follow, account.as_str(), Some(*kind)),
            Self::Reconcile { site } => (WorkKind::Reconcile, site.as_str(), None),
            Self::ConfirmHeads { site } => (WorkKind::ConfirmHeads, site.as_str(), None),
            Self::Remove => (WorkKind::Remove, "", None),
        };
        KeyColumns {
            kind: kind.into(),
            subject: subject.to_owned(),
            purge_kind: purge_kind.map_or("", PurgeKind::as_str),
        }
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let subject = row.text("subject")?;
        Ok(match row.word("kind")? {
            WorkKind::Run => Self::Run(RunId(subject)),
            WorkKind::Status => Self::Status(RunId(subject)),
            WorkKind::Submit => Self::Submit {
                account: AccountId::new(subject),
                kind: row.word("purge_kind")?,
            },
            WorkKind::Follow => Self::Follow {
                account: AccountId::new(subject),
                kind: row.word("purge_kind")?,
            },
            WorkKind::Reconcile => Self::Reconcile { site: subject },
            WorkKind::ConfirmHeads => Self::ConfirmHeads { site: subject },
            WorkKind::Remove => Self::Remove,
        })
    }

    /// The key for fairness: a site or an account.
    pub(super) fn site(&self) -> Option<&str> {
        match self {
            // The run's row has its site.
            Self::Run(_) | Self::Status(_) => None,
            Self::Submit { account, .. } | Self::Follow { account, .. } => Some(account.as_str()),
            Self::Reconcile { site } | Self::ConfirmHeads { site } => Some(site),
            Self::Remove => Some(""),
        }
    }

    /// The key of the limit on running steps, if it does not depend on a run: an account has only a few items.
    pub(super) fn concurrency_key(&self) -> Option<&'static str> {
        match self {
            Self::Reconcile { .. } | Self::ConfirmHeads { .. } => Some("reconcile"),
            Self::Run(_)
            | Self::Status(_)
            | Self::Submit { .. }
            | Self::Follow { .. }
            | Self::Remove => None,
        }
    }
}

/// The key of the limit on running steps that call a forge.
pub(super) fn forge_key(forge: &str) -> String {
    format!("forge {forge}")
}
