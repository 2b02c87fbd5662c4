//! Taking a run one step on: what changed, the plan, and the end once every purge is over.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Engine, Outcome, STEP_LIMIT, StepError, describe, retry};
use crate::changes::ChangeSet;
use crate::config::{Config, Site, WhenUnknown};
use crate::event::{CommitId, Event, RepoPath};
use crate::forge::{ForgeError, Verified};
use crate::plan::{self, Capability, Plan};
use crate::purge::{PlannedPurge, Purge, PurgeKind, PurgeState};
use crate::run::{Run, RunId, RunState, StatusState, Step};
use crate::store::{PurgeKey, PurgeUpdate, StoreError, Work, WorkKey, Write};

/// Tries to learn from the forge what changed, over about ten minutes, before it counts as unknown.
const CHANGES_TRIES: i64 = 15;
/// Purges read at once.
const PAGE: u32 = 1_000;

impl Engine {
    pub(super) async fn advance(&self, id: &RunId, work: &Work) -> Result<Outcome, StepError> {
        let now = self.clock.now();
        let Some(run) = self.store.run(id).await? else {
            return Ok(Outcome::done(Vec::new()));
        };
        if run.state.is_final() {
            return Ok(Outcome::done(Vec::new()));
        }
        if now >= run.deadline {
            return self.expire(run, now).await;
        }
        let config = self.config();
        let Some(site) = config.sites.get(&run.site) else {
            let summary = format!("The site {} is no longer configured", run.site);
            return Ok(end(run, RunState::Errored, summary, now));
        };
        match run.step {
            Step::Changes => self.plan(&config, site, run, work, now).await,
            Step::Purging => self.settle(&config, run, now).await,
            Step::Ended => Ok(Outcome::done(Vec::new())),
        }
    }

    /// Finds out what changed and plans the purges.
    async fn plan(
        &self,
        config: &Config,
        site: &Site,
        mut run: Run,
        work: &Work,
        now: Timestamp,
    ) -> Result<Outcome, StepError> {
        let changes = match self.changes(config, &run).await? {
            Ok(changes) => changes,
            Err(ForgeError::Later {
                message,
                retry_after,
            }) if work.attempts < CHANGES_TRIES => {
                warn!(run = %run.id, "cannot find out what changed yet: {message}");
                let wait =
                    retry::backoff_at_least(work.attempts, self.clock.fraction(), retry_after);
                run.summary = format!("Finding out what changed; trying again: {message}");
                return Ok(Outcome::again(
                    vec![Write::Run(run)],
                    now + wait,
                    work.attempts + 1,
                ));
            }
            Err(error) => ChangeSet::unknown(error.to_string()),
        };

        let cdns = capabilities(config, site);
        let mut writes = Vec::new();
        let (plan, what) = match changes {
            ChangeSet::Complete { proof, files } => {
                run.proof = Some(proof.word().to_owned());
                let plan = plan::plan(&site.rules, &cdns, &files);
                let what = describe::files(files.len());
                writes.push(Write::Changes(run.id.clone(), files));
                (plan, what)
            }
            ChangeSet::Unknown { why } => {
                run.proof = Some("unknown".to_owned());
                match site.when_unknown {
                    WhenUnknown::Everything => {
                        let plan = plan::plan_everything(&site.rules, &cdns, &why);
                        (
                            plan,
                            format!("Unknown what changed ({why}), so everything is purged"),
                        )
                    }
                    WhenUnknown::Fail => {
                        let summary = format!("Unknown what changed: {why}");
                        return Ok(end(run, RunState::Failed, summary, now));
                    }
                }
            }
        };
        info!(run = %run.id, site = %run.site, purges = plan.purges.len(), "planned {} purges for {}", plan.purges.len(), run.site);
        for note in &plan.notes {
            info!(run = %run.id, "{note}");
        }
        if plan.purges.is_empty() && plan.problems.is_empty() {
            let mut outcome = end(
                run,
                RunState::Succeeded,
                format!("Nothing to purge: {what}"),
                now,
            );
            outcome.writes.extend(writes);
            return Ok(outcome);
        }

        run.problems.clone_from(&plan.problems);
        run.step = Step::Purging;
        run.summary = format!("Purging {}: {what}", describe::purges(&plan.purges));
        writes.push(Write::Status(
            run.id.clone(),
            StatusState::Pending,
            run.summary.clone(),
        ));
        writes.extend(begin_purging(config, &run, plan, now));
        let deadline = run.deadline;
        writes.push(Write::Run(run));
        Ok(Outcome::again(writes, deadline, 0))
    }

    /// The change set of a run: the payload's where it proves itself, else the forge's.
    async fn changes(
        &self,
        config: &Config,
        run: &Run,
    ) -> Result<Result<ChangeSet, ForgeError>, StepError> {
        let Some(forge) = config.forges.get(&run.forge) else {
            let why = format!("the forge {} is no longer configured", run.forge);
            return Ok(Err(ForgeError::Refused(why)));
        };
        if let Some(id) = &run.delivery
            && let Some(delivery) = self.store.delivery(id).await?
        {
            let verified = Verified {
                delivery_id: delivery.forge_delivery,
                event: delivery.event,
            };
            if let Ok(Event::Push(push)) =
                forge.understand(&verified, &delivery.content_type, &delivery.body)
                && matches!(push.listed, ChangeSet::Complete { .. })
            {
                return Ok(Ok(push.listed));
            }
        }
        let Some(before) = &run.before else {
            return Ok(Ok(ChangeSet::unknown("the branch is new")));
        };
        let (Some(repo), Some(from), Some(to)) = (
            RepoPath::parse(&run.repo),
            CommitId::parse(before),
            CommitId::parse(&run.commit),
        ) else {
            return Err(StoreError::Corrupt(format!(
                "the repository or commits of run {}",
                run.id
            ))
            .into());
        };
        // Leaves room in the step for the commit of its outcome.
        match tokio::time::timeout(STEP_LIMIT * 9 / 10, forge.changes(&repo, &from, &to)).await {
            Ok(changes) => Ok(changes),
            Err(_) => Ok(Ok(ChangeSet::unknown(
                "comparing the two commits took too long",
            ))),
        }
    }

    /// Lets prefetches go whose purges are done, and ends the run when every purge is over.
    async fn settle(
        &self,
        config: &Config,
        run: Run,
        now: Timestamp,
    ) -> Result<Outcome, StepError> {
        let purges = self.all_purges(&run.id).await?;
        let released = release(config, &purges, now);
        if !released.is_empty() {
            // What was let go may have failed at once: look again right away.
            return Ok(Outcome::again(released, now, 0));
        }
        if purges.iter().any(|purge| !purge.state.is_final()) {
            return Ok(Outcome::again(Vec::new(), run.deadline, 0));
        }
        Ok(conclude(run, &purges, now))
    }

    /// Fails what is not over by the run's deadline, and ends the run.
    async fn expire(&self, run: Run, now: Timestamp) -> Result<Outcome, StepError> {
        let mut purges = self.all_purges(&run.id).await?;
        let why = "not confirmed before the run's deadline";
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
            let summary = format!("Gave up at the deadline: {}", run.summary);
            return Ok(end(run, RunState::Errored, summary, now));
        }
        let mut outcome = conclude(run, &purges, now);
        outcome.writes.push(Write::Update(PurgeUpdate {
            keys: open,
            state: PurgeState::Failed,
            task: None,
            error: Some(why.to_owned()),
            tried: false,
            batch_cap: None,
        }));
        Ok(outcome)
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

/// What the CDNs of a site can take.
pub fn capabilities(config: &Config, site: &Site) -> Vec<Capability> {
    site.cdns
        .iter()
        .filter_map(|name| {
            let cdn = config.cdns.get(name)?;
            Some(Capability {
                cdn: name.clone(),
                kinds: cdn.limits().kinds.keys().copied().collect(),
                url_length: cdn.limits().url_length,
            })
        })
        .collect()
}

/// The plan's purges, and the wishes that get them on their way.
fn begin_purging(config: &Config, run: &Run, plan: Plan, now: Timestamp) -> Vec<Write> {
    let mut lanes = BTreeSet::new();
    let covers: Vec<PlannedPurge> = plan
        .purges
        .iter()
        .filter(|purge| purge.kind != PurgeKind::Prefetch)
        .cloned()
        .collect();
    let rows = plan
        .purges
        .into_iter()
        .map(|purge| {
            let account = config
                .cdns
                .get(&purge.cdn)
                .map_or(String::new(), |cdn| cdn.account());
            let waits = purge.kind == PurgeKind::Prefetch
                && covers.iter().any(|cover| covers_prefetch(cover, &purge));
            let state = if waits {
                PurgeState::Waiting
            } else {
                PurgeState::Planned
            };
            if !waits {
                lanes.insert((account.clone(), purge.kind));
            }
            (purge, account, state)
        })
        .collect();
    let mut writes = vec![Write::Purges(run.id.clone(), rows)];
    for (account, kind) in lanes {
        writes.push(Write::Wish(WorkKey::Submit { account, kind }, now));
    }
    writes
}

/// Whether a prefetch must wait for this purge: filling a cache with what is about to be purged is no use.
fn covers_prefetch(cover: &PlannedPurge, prefetch: &PlannedPurge) -> bool {
    cover.cdn == prefetch.cdn
        && match cover.kind {
            PurgeKind::Url => cover.target == prefetch.target,
            PurgeKind::Directory => prefetch.target.starts_with(&cover.target),
            PurgeKind::Prefetch => false,
        }
}

/// Prefetches whose purges are over: planned where all were confirmed, failed where one was not.
fn release(config: &Config, purges: &[Purge], now: Timestamp) -> Vec<Write> {
    let (mut planned, mut failed) = (Vec::new(), Vec::new());
    let mut lanes = BTreeSet::new();
    for prefetch in purges
        .iter()
        .filter(|purge| purge.state == PurgeState::Waiting)
    {
        let mut covers = purges
            .iter()
            .filter(|purge| covers_prefetch(&purge.planned, &prefetch.planned))
            .map(|purge| purge.state);
        if covers.clone().any(|state| state == PurgeState::Failed) {
            failed.push(key(prefetch));
        } else if covers.all(|state| state == PurgeState::Done) {
            planned.push(key(prefetch));
            lanes.insert(account_of(config, &prefetch.planned.cdn));
        }
    }
    let update = |keys: Vec<PurgeKey>, state, error: Option<&str>| {
        (!keys.is_empty()).then(|| {
            Write::Update(PurgeUpdate {
                keys,
                state,
                task: None,
                error: error.map(str::to_owned),
                tried: false,
                batch_cap: None,
            })
        })
    };
    [
        update(planned, PurgeState::Planned, None),
        update(
            failed,
            PurgeState::Failed,
            Some("not prefetched: the purge of this URL failed"),
        ),
    ]
    .into_iter()
    .flatten()
    .chain(lanes.into_iter().map(|account| {
        Write::Wish(
            WorkKey::Submit {
                account,
                kind: PurgeKind::Prefetch,
            },
            now,
        )
    }))
    .collect()
}

/// The account behind a CDN's name; empty where it is no longer configured.
fn account_of(config: &Config, cdn: &str) -> String {
    config
        .cdns
        .get(cdn)
        .map_or_else(String::new, |cdn| cdn.account())
}

/// Ends a run whose purges are all over.
fn conclude(run: Run, purges: &[Purge], now: Timestamp) -> Outcome {
    let failed: Vec<&Purge> = purges
        .iter()
        .filter(|purge| purge.state == PurgeState::Failed)
        .collect();
    match failed.first() {
        None if !run.problems.is_empty() => {
            let summary = format!(
                "{} could not be purged: {}",
                describe::targets(run.problems.len()),
                run.problems[0]
            );
            end(run, RunState::Failed, summary, now)
        }
        None => {
            let summary = format!(
                "Purged {}",
                describe::purges(purges.iter().map(|purge| &purge.planned))
            );
            end(run, RunState::Succeeded, summary, now)
        }
        Some(first) => {
            let why = first.error.as_deref().unwrap_or("no reason is known");
            let all = u64::try_from(purges.len()).unwrap_or(u64::MAX);
            let summary = describe::failure(failed.len(), all, &first.planned, why);
            end(run, RunState::Failed, summary, now)
        }
    }
}

/// Ends a run and shows so on the commit.
fn end(mut run: Run, state: RunState, summary: String, now: Timestamp) -> Outcome {
    let shown = match state {
        RunState::Succeeded => StatusState::Success,
        RunState::Failed => StatusState::Failure,
        RunState::Errored | RunState::Superseded | RunState::Cancelled | RunState::Pending => {
            StatusState::Error
        }
    };
    info!(run = %run.id, site = %run.site, state = state.word(), "run {} ended: {summary}", run.id);
    run.state = state;
    run.step = Step::Ended;
    run.summary.clone_from(&summary);
    run.ended_at = Some(now);
    let status = Write::Status(run.id.clone(), shown, summary);
    Outcome::done(vec![Write::Run(run), status])
}

fn key(purge: &Purge) -> PurgeKey {
    PurgeKey {
        run: purge.run.clone(),
        seq: purge.id,
    }
}
