//! The only way from a change set to a plan, for both the run and the preview.
//!
//! It is pure: each stage names the facts that the next one needs.

use std::collections::BTreeMap;

use super::{Allowance, Budget, Capability, Cover, Objects, Plan, plan, plan_everything};
use crate::changes::{ChangeKind, FilePath};
use crate::purge::PurgeKind;
use crate::rules::Rules;

/// The changes.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Exactly these paths.
    Files(&'a BTreeMap<FilePath, ChangeKind>),
    /// Unknown, so everything is purged.
    Unknown {
        /// The reason, for a note.
        why: &'a str,
    },
}

/// A plan, or the facts that it still needs.
pub enum Decision<'a> {
    /// The finished plan.
    Plan(Plan),
    /// It needs the rest of each CDN's quota today.
    NeedsAllowances(Draft<'a>),
}

/// A plan, or the facts that a cover still needs.
pub enum CoverDecision {
    /// The finished plan.
    Plan(Plan),
    /// It needs the number of objects in the directories above the plan's purges.
    NeedsObjects(Uncovered),
}

/// A plan whose purges may be replaced by cheaper ones.
pub struct Draft<'a> {
    rules: &'a Rules,
    cdns: &'a [Capability],
    cover: Cover,
    plan: Plan,
}

/// A plan in which a directory could replace some purges.
pub struct Uncovered {
    plan: Plan,
    budgets: BTreeMap<String, Budget>,
}

/// Plans a change.
pub fn decide<'a>(
    rules: &'a Rules,
    cdns: &'a [Capability],
    cover: Cover,
    change: Change<'_>,
) -> Decision<'a> {
    let files = match change {
        Change::Files(files) => files,
        Change::Unknown { why } => return Decision::Plan(plan_everything(rules, cdns, why)),
    };
    let plan = plan(rules, cdns, files);
    match cover {
        Cover::Exact => Decision::Plan(plan),
        Cover::OverQuota | Cover::Cheapest => Decision::NeedsAllowances(Draft {
            rules,
            cdns,
            cover,
            plan,
        }),
    }
}

impl Draft<'_> {
    /// Continues with the rest of each CDN's quota. A CDN that cannot purge single URLs has no budget.
    pub fn with_allowances(
        self,
        allowance: impl Fn(&str, PurgeKind) -> Option<Allowance>,
    ) -> CoverDecision {
        let Self {
            rules,
            cdns,
            cover,
            plan,
        } = self;
        let budgets = cdns.iter().filter_map(|capability| {
            let cdn = &capability.cdn;
            let budget = Budget {
                cover,
                urls: allowance(cdn, PurgeKind::Url)?,
                directories: allowance(cdn, PurgeKind::Directory),
                roots: rules.roots(),
                objects: BTreeMap::new(),
            };
            Some((cdn.clone(), budget))
        });
        let budgets = budgets.collect();
        if plan.may_be_covered(&budgets) {
            CoverDecision::NeedsObjects(Uncovered { plan, budgets })
        } else {
            CoverDecision::Plan(plan.covered(budgets, Objects::Unasked))
        }
    }
}

impl Uncovered {
    /// The plan so far, whose directories' objects are to be counted.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan with the cheapest cover for these numbers of objects.
    pub fn with_objects(self, objects: Objects) -> Plan {
        self.plan.covered(self.budgets, objects)
    }
}
