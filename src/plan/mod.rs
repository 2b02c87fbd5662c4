//! Plans: what a change set comes to under a site's rules.

use std::collections::BTreeMap;

use crate::changes::{ChangeKind, FilePath};
use crate::purge::{PlannedPurge, PurgeKind};
use crate::rules::Rules;

/// What one CDN of the site can take.
#[derive(Clone, Debug)]
pub struct Capability {
    /// Its name under `cdns:`.
    pub cdn: String,
    /// The kinds of purge it knows.
    pub kinds: Vec<PurgeKind>,
    /// Bytes in one URL, where it has a limit.
    pub url_length: Option<usize>,
}

/// The purges a change set asks for, each with the rule and path that asked first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sorted, each (CDN, kind, target) once.
    pub purges: Vec<PlannedPurge>,
    /// What could not be planned, in words for the page: a URL over a CDN's limit.
    pub problems: Vec<String>,
}

/// The plan for a complete change set.
pub fn plan(_rules: &Rules, _cdns: &[Capability], _files: &BTreeMap<FilePath, ChangeKind>) -> Plan {
    todo!()
}

/// The plan for `when_unknown: everything`: the site's root directories on every CDN.
pub fn plan_everything(_rules: &Rules, _cdns: &[Capability], _why: &str) -> Plan {
    todo!()
}
