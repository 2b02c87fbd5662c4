//! Taking a run one step on, and to its end once every purge is over.

use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use crate::config::Trigger;
use crate::engine::baseline;
use crate::engine::clock_jumps::came_late;
use crate::engine::policy::prefetch;
use crate::engine::policy::summary as sentences;
use crate::engine::{Engine, Outcome, RUN_LIMIT, StepError};
use crate::purge::{Purge, PurgeState};
use crate::run::{Base, Run, RunId, RunState, StatusState, Step};
use crate::store::{Precondition, PurgeKey, PurgeUpdate, StoreError, Work, Write};

/// Purges read at once.
const PAGE: u32 = 1_000;
/// How late a delivery may come. GitHub says "minutes" ("Troubleshooting webhooks").
const LATE: Duration = Duration::from_secs(15 * 60);

impl Engine {
    pub(in crate::engine) async fn advance(
        &self,
        id: &RunId,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let now = self.clock.now();
        let Some(mut run) = self.store.run(id).await? else {
            return Ok(Outcome::done(Vec::new()));
        };
        if run.state.is_final() {
            return Ok(Outcome::done(Vec::new()));
        }
        if now >= run.deadline && came_late(work, now) {
            run.deadline = now + RUN_LIMIT;
            return Ok(Outcome::again(vec![Write::Run(run)], now, 0));
        }
        if now >= run.deadline {
            return self
                .close(run, "not confirmed before the run's deadline", now)
                .await;
        }
        match run.step {
            Step::Changes => {
                let config = self.config();
                match config.sites.get(&run.site) {
                    Some(site) => self.plan(&config, site, run, work).await,
                    None => {
                        let why = format!("the site {} is no longer configured", run.site);
                        self.close(run, &why, now).await
                    }
                }
            }
            // What was planned is seen through, whatever became of the site meanwhile.
            Step::Purging => self.settle(run, now).await,
            Step::Ended => Ok(Outcome::done(Vec::new())),
        }
    }

    /// Lets prefetches go whose purges are done, and ends the run when every purge is over.
    async fn settle(&self, run: Run, now: Timestamp) -> Result<Outcome, StepError> {
        let counts = self.store.purge_counts(&run.id).await?;
        let waiting = counts.count(|_, state| state == PurgeState::Waiting);
        let open = counts.count(|_, state| !state.is_final());
        if open > 0 && waiting == 0 {
            return Ok(Outcome::again(Vec::new(), run.deadline, 0));
        }
        let purges = self.all_purges(&run.id).await?;
        let released = prefetch::release(&run.id, &purges);
        if !released.is_empty() {
            // What was let go may have failed at once: look again right away.
            return Ok(Outcome::again(released, now, 0));
        }
        if open > 0 {
            return Ok(Outcome::again(Vec::new(), run.deadline, 0));
        }
        self.conclude(run, &purges, now).await
    }

    /// Fails what is not over, and ends the run.
    async fn close(&self, run: Run, why: &str, now: Timestamp) -> Result<Outcome, StepError> {
        let mut purges = self.all_purges(&run.id).await?;
        let open: Vec<PurgeKey> = purges
            .iter()
            .filter(|purge| !purge.state.is_final())
            .map(key)
            .collect();
        for purge in purges.iter_mut().filter(|purge| !purge.state.is_final()) {
            purge.state = PurgeState::Failed;
            purge.error.get_or_insert_with(|| why.to_owned());
        }
        if purges.is_empty() {
            let summary = format!("Gave up, {why}: {}", run.summary);
            return self.end(run, RunState::Errored, summary, now).await;
        }
        let mut outcome = self.conclude(run, &purges, now).await?;
        // First of all: what this run leaves behind, it leaves closed.
        let closed = PurgeUpdate {
            error: Some(why.to_owned()),
            ..PurgeUpdate::new(open, PurgeState::Failed, Precondition::Open)
        };
        outcome.writes.insert(0, Write::Update(closed));
        Ok(outcome)
    }

    /// Ends a run whose purges are all over.
    async fn conclude(
        &self,
        run: Run,
        purges: &[Purge],
        now: Timestamp,
    ) -> Result<Outcome, StepError> {
        let failed: Vec<&Purge> = purges
            .iter()
            .filter(|purge| purge.state == PurgeState::Failed)
            .collect();
        let (observed, others): (Vec<&Purge>, Vec<&Purge>) = purges
            .iter()
            .partition(|purge| purge.state == PurgeState::Observed);
        let (state, summary) = match (failed.first(), run.problems.first()) {
            (None, _) if !observed.is_empty() => {
                let of = |purges: &[&Purge]| {
                    sentences::purges(purges.iter().map(|purge| &purge.planned))
                };
                let stopped = format!(
                    "The site is only observed by now: {} would have been purged",
                    of(&observed)
                );
                let summary = if others.is_empty() {
                    stopped
                } else {
                    format!("{stopped}; purged before that: {}", of(&others))
                };
                (RunState::Cancelled, summary)
            }
            (Some(first), _) => {
                let why = first.error.as_deref().unwrap_or("no reason is known");
                let all = u64::try_from(purges.len()).unwrap_or(u64::MAX);
                (
                    RunState::Failed,
                    sentences::failure(failed.len(), all, &first.planned, why),
                )
            }
            (None, Some(problem)) => {
                let targets = sentences::targets(run.problems.len());
                (
                    RunState::Failed,
                    format!("{targets} could not be purged: {problem}"),
                )
            }
            (None, None) => {
                let done = sentences::purges(purges.iter().map(|purge| &purge.planned));
                (RunState::Succeeded, format!("Purged {done}"))
            }
        };
        self.end(run, state, summary, now).await
    }

    /// Ends a run, shows so on its commit and on those it covers, and after a
    /// success lets go of the commits whose differences it purged.
    pub(in crate::engine) async fn end(
        &self,
        mut run: Run,
        state: RunState,
        summary: String,
        now: Timestamp,
    ) -> Result<Outcome, StepError> {
        let shown = match state {
            RunState::Succeeded => StatusState::Success,
            RunState::Failed => StatusState::Failure,
            RunState::Errored | RunState::Superseded | RunState::Cancelled | RunState::Pending => {
                StatusState::Error
            }
        };
        info!(run = %run.id, site = %run.site, state = state.as_str(), "run {} ended: {summary}", run.id);
        run.state = state;
        run.step = Step::Ended;
        run.summary.clone_from(&summary);
        run.ended_at = Some(now);

        let mut writes = vec![Write::Status(run.id.clone(), shown, summary)];
        let covered = if run.held_version.is_some() {
            self.store.covered_by(&run.id).await?
        } else {
            // It ends without a plan: what it should have purged is held for the next one. And
            // nobody may leave their work to it meanwhile.
            let ground = self.ground(&run).await?;
            writes.extend(ground.hold(&run));
            self.store.covered_by(&run.id).await?
        };
        for mut covered in covered {
            covered.observed = run.observed;
            covered.covered_by = Some(run.id.clone());
            covered.summary = format!("Covered by {}: {}", run.commit.short(), run.summary);
            writes.push(Write::Status(
                covered.id.clone(),
                shown,
                covered.summary.clone(),
            ));
            writes.push(Write::Run(covered));
        }
        if let (RunState::Succeeded, Some(version)) = (state, run.held_version) {
            let config = self.config();
            let site = config.sites.get(&run.site);
            let settle = site.map_or(Duration::ZERO, |site| site.settle);
            let order = site.map_or(Duration::ZERO, |site| order_known_after(&site.trigger));
            // What a newer run brings is not this one's to let go, nor what may be newer.
            let since = run.created_at - order;
            let newer = self.store.commits_since(&run.site, &run.id, since).await?;
            let stays = |base: &Base| {
                let commit = base.commit();
                commit.is_some_and(|id| run.commit.id() == Some(id) || newer.contains(id))
            };
            let gone = run.bases.iter().filter(|base| !stays(base));
            writes.push(Write::ReleaseHeld {
                site: baseline::held_by(&run),
                commits: gone.cloned().collect(),
                version,
                until: now + settle,
            });
        }
        writes.push(Write::Run(run));
        Ok(Outcome::done(writes))
    }

    async fn all_purges(&self, run: &RunId) -> Result<Vec<Purge>, StoreError> {
        let mut purges: Vec<Purge> = Vec::new();
        loop {
            let after = purges.last().map_or(0, |purge| purge.id);
            let page = self.store.purges(run, after, PAGE).await?;
            let full = page.len() == PAGE as usize;
            purges.extend(page);
            if !full {
                return Ok(purges);
            }
        }
    }
}

/// For how long what was told of one after the other may have come about the other way round.
///
/// A branch's or an environment's head is looked at again and again, so that what is live
/// is known in the end. Of nothing else can it be asked, and deliveries may be late.
fn order_known_after(trigger: &Trigger) -> Duration {
    match trigger {
        Trigger::Push | Trigger::Deployment(_) => Duration::ZERO,
        Trigger::Workflow(_) | Trigger::Pipeline(_) | Trigger::Release | Trigger::PageBuild => LATE,
    }
}

pub(in crate::engine) fn key(purge: &Purge) -> PurgeKey {
    PurgeKey {
        run: purge.run.clone(),
        seq: purge.id,
    }
}
