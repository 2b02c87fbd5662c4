//! What a work item is about, as a type and as columns.

use strum::{EnumString, IntoStaticStr};

use crate::account::AccountId;
use crate::purge::PurgeKind;
use crate::run::RunId;
use crate::store::StoreError;
use crate::store::database::{Row, Value};

/// What a work item is about; there is at most one item for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKey {
    /// Taking a run one step on.
    Run(RunId),
    /// Reporting to the forge how a run stands.
    Status(RunId),
    /// Submitting an account's planned purges of one kind to its CDN.
    Submit {
        /// The account, as its CDN names it.
        account: AccountId,
        /// The kind of purge: each is an action of its own, with a rate of its own.
        kind: PurgeKind,
    },
    /// Looking whether a site's branch or environment moved without a delivery.
    Reconcile {
        /// The site.
        site: String,
    },
    /// Looking once more at branches or environments that have moved without a delivery.
    ConfirmHeads {
        /// The site.
        site: String,
    },
    /// Removing what is older than it is kept for.
    Remove,
    /// Asking a CDN how an account's tasks of one kind stand.
    Follow {
        /// The account, as its CDN names it.
        account: AccountId,
        /// The kind of purge.
        kind: PurgeKind,
    },
}

/// The kinds of work, as the database names them.
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
    /// A run's id, a site or an account; empty where there is only one item of the kind.
    pub(super) subject: String,
    /// Of submissions and tasks; empty for all else.
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

    /// What shares the work with others fairly: a site, or an account.
    pub(super) fn site(&self) -> Option<&str> {
        match self {
            // The run knows its site.
            Self::Run(_) | Self::Status(_) => None,
            Self::Submit { account, .. } | Self::Follow { account, .. } => Some(account.as_str()),
            Self::Reconcile { site } | Self::ConfirmHeads { site } => Some(site),
            Self::Remove => Some(""),
        }
    }

    /// What the number of running steps is limited by, where it does not depend on a run: an account has few items at most.
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

/// What the number of steps that ask a forge is limited by.
pub(super) fn forge_key(forge: &str) -> String {
    format!("forge {forge}")
}
