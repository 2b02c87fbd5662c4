//! What submissions wait for, a quota's renewal or a CDN's answer, and telling the runs that have to.
//!
//! A run may wait for several things at once, in several lines. It says one of them for as
//! long as that holds: each would take another's place on the commit time and again, and
//! forges take only so many statuses (GitHub 1,000 on a commit and context).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::upstream::breaker::{LeftAlone, has_not_answered};
use super::upstream::quota::quota_day;
use super::{Engine, Outcome, RUN_LIMIT, StepError};
use crate::purge::PurgeKind;
use crate::store::{StoreError, Upstream, Work, Write};

/// How long a run may wait for quotas in all.
const QUOTA_PATIENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often a used-up quota is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(15 * 60);

impl Engine {
    /// Goes on when the quota day is over.
    pub(super) fn when_renewed(&self, writes: Vec<Write>) -> Outcome {
        let now = self.clock.now();
        let (_, reset) = quota_day(now);
        // The day may begin at another hour than ours, and quotas get raised: asked for again before that.
        Outcome::again(writes, reset.min(now + ASK_AGAIN), 0)
    }

    /// Tells every run that has something in line on one of an account's CDNs whose quota is
    /// used up that it has to wait for the next quota day.
    pub(super) async fn tell_of_quotas(
        &self,
        account: &str,
        kind: PurgeKind,
        used_up: &[String],
    ) -> Result<Vec<Write>, StoreError> {
        let (_, reset) = quota_day(self.clock.now());
        let until = until(reset);
        let said = [until.clone()];
        let mut writes = Vec::new();
        let mut told = BTreeSet::new();
        for cdn in used_up {
            let untold = self.store.queued_runs(account, kind, cdn, &said).await?;
            for run in untold {
                if !told.insert(run.id.clone()) {
                    continue;
                }
                // A quota that never comes back must not keep a run pending for ever.
                let last = run.created_at + QUOTA_PATIENCE;
                let deadline = run.deadline.max((reset + RUN_LIMIT).min(last));
                let summary = format!("{until}{cdn}'s daily {} quota", kind.as_str());
                writes.push(Write::Waiting(run.id, summary, deadline));
            }
        }
        Ok(writes)
    }

    /// Leaves a CDN alone that does not answer, and tells every run that has to wait for it.
    /// `first` is the entry that was to be handed something; others of its account wait as well.
    pub(super) async fn wait_for_answer(
        &self,
        left: &LeftAlone,
        kind: PurgeKind,
        first: &str,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let Upstream::Cdn(account) = &left.outage.upstream else {
            return Ok(Outcome::done(Vec::new()));
        };
        let said = self.reasons_to_wait().await?;
        let config = self.config();
        let others = config
            .cdns
            .iter()
            .filter(|(_, cdn)| cdn.account() == *account);
        let names: BTreeSet<&str> = others
            .map(|(name, _)| name.as_str())
            .chain([first])
            .collect();
        let mut writes = Vec::new();
        let mut told = BTreeSet::new();
        for cdn in names {
            let untold = self.store.queued_runs(account, kind, cdn, &said).await?;
            for run in untold {
                if told.insert(run.id.clone()) {
                    let since = has_not_answered(cdn, left.outage.since);
                    let summary = format!("Waiting: {since}: {}", left.outage.error);
                    writes.push(Write::Waiting(run.id, summary, run.deadline));
                }
            }
        }
        let at = self.clock.now() + left.wait;
        Ok(Outcome::again(writes, at, work.attempts.max(1)))
    }

    /// How the summaries of runs begin that wait for what still holds.
    async fn reasons_to_wait(&self) -> Result<Vec<String>, StoreError> {
        let (_, reset) = quota_day(self.clock.now());
        let mut reasons = vec![until(reset)];
        let config = self.config();
        for outage in self.store.circuits().await? {
            let Upstream::Cdn(account) = &outage.upstream else {
                continue;
            };
            let of_account = config
                .cdns
                .iter()
                .filter(|(_, cdn)| cdn.account() == *account);
            reasons
                .extend(of_account.map(|(name, _)| {
                    format!("Waiting: {}:", has_not_answered(name, outage.since))
                }));
        }
        Ok(reasons)
    }
}

/// How a run's summary begins that waits for a quota.
fn until(reset: Timestamp) -> String {
    format!(
        "Waiting until {} for ",
        reset.strftime("%Y-%m-%d %H:%M UTC")
    )
}
