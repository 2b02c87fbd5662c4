//! The first step of a run: which commit, what changed, and the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::cdn::Cdn;
use crate::changes::{ChangeSet, Completeness};
use crate::config::{Config, Reach, Site, WhenUnknown};
use crate::engine::baseline::Ground;
use crate::engine::policy::backoff;
use crate::engine::policy::prefetch::Covers;
use crate::engine::policy::summary as sentences;
use crate::engine::upstream::breaker::has_not_answered;
use crate::engine::{Engine, Outcome, STEP_LIMIT, StepError};
use crate::event::{CommitId, CommitRef, GitRef};
use crate::forge::ForgeError;
use crate::plan::{self, Allowance, Budget, Capability, Cover, Objects, Plan};
use crate::purge::{PurgeKind, PurgeState};
use crate::run::{Origin, Run, RunState, StatusState, Step};
use crate::store::{StoreError, Upstream, Work, WorkKey, Write};

/// Tries to learn something from the forge, over about ten minutes, before it counts as unknown.
const FORGE_TRIES: i64 = 15;
/// How long the forge may take to list a commit's files: what the search for what changed leaves of the step, less
/// room for the commit of its outcome.
const COUNT_LIMIT: Duration = Duration::from_secs(STEP_LIMIT.as_secs() / 20);
/// How soon a run looks again whether another of its site has found out what changed, and up to twice that.
const TURN_LOOK: Duration = Duration::from_secs(2);
/// Notes on a plan that are kept with its run.
const MOST_NOTES: usize = 50;

impl Engine {
    /// Finds out what changed and plans the purges.
    pub(in crate::engine) async fn plan(
        &self,
        config: &Config,
        site: &Site,
        mut run: Run,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        run.observed = site.reach.is_observed();
        let commit = match &run.commit {
            CommitRef::Id(id) => id.clone(),
            CommitRef::Unresolved(name) => {
                let name = name.clone();
                return self.resolve(config, run, &name, work).await;
            }
        };
        let ground = self.ground(&run).await?;
        if ground.planner(&run).is_some() {
            return Err(self.not_its_turn());
        }
        let everything = run.origin == Origin::ManualEverything;
        let newer = self.store.newer_unplanned(&site.name, &run.id).await?;
        if let Some(newer) = newer.filter(|newer| !everything && newer.commit.id().is_some()) {
            return Ok(self.fold(run, &newer, &ground));
        }

        let bases = ground.bases(&run);
        let found = if everything {
            Ok(ChangeSet::unknown("everything was asked for"))
        } else if let Some(count) = ground.too_many() {
            let why = format!("the caches may hold any of {count} commits");
            Ok(ChangeSet::unknown(why))
        } else {
            self.changes(config, &run, &commit, &bases).await?
        };
        let changes = match found {
            Ok(changes) => changes,
            Err(ForgeError::Later {
                message,
                retry_after,
            }) if may_wait(&run, work, retry_after, self.clock.now()) => {
                run.summary = format!("Finding out what changed; trying again: {message}");
                return Ok(self.ask_again(run, work, &message, retry_after));
            }
            Err(error) => ChangeSet::unknown(error.to_string()),
        };

        let now = self.clock.now();
        run.bases = bases;
        run.held_version = Some(ground.next_version());
        let mut writes = ground.hold(&run);
        let cdns = capabilities(site);
        let (plan, what) = match changes {
            ChangeSet::Complete { proof, files } => {
                run.proof = Some(Completeness::Proven(proof));
                let plan = plan::plan(&site.rules, &cdns, &files);
                let plan = match site.cover {
                    Cover::Exact => plan,
                    Cover::OverQuota | Cover::Cheapest => {
                        let budgets = self.budgets(site).await?;
                        let objects = if plan.may_be_covered(&budgets) {
                            self.objects(config, site, &run, &commit, &plan).await?
                        } else {
                            Objects::Unasked
                        };
                        plan.covered(budgets, objects)
                    }
                };
                let what = sentences::files(files.len());
                writes.push(Write::Changes(run.id.clone(), files));
                (plan, what)
            }
            ChangeSet::Unknown { why } => {
                run.proof = Some(Completeness::Unknown);
                match site.when_unknown {
                    WhenUnknown::Fail if !everything => {
                        let known = ground.unknown_until();
                        if let Some(known) = known.filter(|known| *known < run.deadline) {
                            return Ok(wait_until_known(run, known));
                        }
                        let summary = format!(
                            "Unknown what changed: {why}; `purgehook run {} --everything` purges all",
                            run.site
                        );
                        let mut outcome = self.end(run, RunState::Failed, summary, now).await?;
                        outcome.writes.splice(0..0, writes);
                        return Ok(outcome);
                    }
                    WhenUnknown::Everything | WhenUnknown::Fail => {
                        let plan = plan::plan_everything(&site.rules, &cdns, &why);
                        (
                            plan,
                            format!("unknown what changed ({why}), so everything is purged"),
                        )
                    }
                }
            }
        };
        for note in &plan.notes {
            info!(run = %run.id, "{note}");
        }
        info!(run = %run.id, site = %run.site, purges = plan.purges.len(), "planned {} purges for {}", plan.purges.len(), run.site);
        run.problems.clone_from(&plan.problems);
        run.notes = noted(&plan.notes);
        if plan.purges.is_empty() {
            let (state, summary) = match run.problems.first() {
                None => (RunState::Succeeded, format!("Nothing to purge: {what}")),
                Some(problem) => (
                    RunState::Failed,
                    format!("Nothing could be purged: {problem}"),
                ),
            };
            let mut outcome = self.end(run, state, summary, now).await?;
            outcome.writes.splice(0..0, writes);
            return Ok(outcome);
        }

        let live = match &site.reach {
            Reach::Observed(_) => {
                let mut outcome = self.end_observed(run, plan, now).await?;
                outcome.writes.splice(0..0, writes);
                return Ok(outcome);
            }
            Reach::Live(cdns) => cdns,
        };
        run.step = Step::Purging;
        run.summary = format!("Purging {}: {what}", sentences::purges(&plan.purges));
        writes.push(Write::Status(
            run.id.clone(),
            StatusState::Pending,
            run.summary.clone(),
        ));
        // It may take long: nobody leaves work to it any more.
        writes.push(Write::AdoptSuperseded(run.id.clone()));
        writes.extend(begin_purging(live, &run, plan, now));
        let deadline = run.deadline;
        writes.push(Write::Run(run));
        Ok(Outcome::again(writes, deadline, 0))
    }

    /// Takes the site's turn to ask the forge what changed, or waits for it.
    pub(in crate::engine) async fn begin_planning(&self, run: &Run) -> Result<(), StepError> {
        let now = self.clock.now();
        match self.store.begin_planning(&run.site, &run.id, now).await? {
            true => Ok(()),
            false => Err(self.not_its_turn()),
        }
    }

    /// Others of the site come first; a look at whether they are done.
    fn not_its_turn(&self) -> StepError {
        StepError::NotYet(TURN_LOOK.mul_f64(1.0 + self.clock.fraction()))
    }

    /// What each CDN of a site may still be asked for today.
    async fn budgets(&self, site: &Site) -> Result<BTreeMap<String, Budget>, StoreError> {
        let mut allowances = BTreeMap::new();
        match &site.reach {
            Reach::Live(cdns) => {
                for (name, cdn) in cdns {
                    for (kind, limit) in &cdn.limits().kinds {
                        let room = self
                            .room(cdn.as_ref(), &cdn.account(), *kind, *limit)
                            .await?;
                        let allowance = Allowance {
                            per_request: room.per_request,
                            left: Some(room.today),
                        };
                        allowances.insert((name.as_str(), *kind), allowance);
                    }
                }
            }
            // Nobody is asked, and nothing was handed over.
            Reach::Observed(cdns) => {
                for (name, limits) in cdns {
                    for (kind, limit) in &limits.kinds {
                        let allowance = Allowance {
                            per_request: limit.per_request,
                            left: Some(limit.per_day),
                        };
                        allowances.insert((name.as_str(), *kind), allowance);
                    }
                }
            }
        }
        Ok(budgets(site, |cdn, kind| {
            allowances.get(&(cdn, kind)).copied()
        }))
    }

    /// What the directories above a plan's purges hold at the run's commit. It is only asked for in passing:
    /// where the forge does not say it at once, the cover estimates.
    async fn objects(
        &self,
        config: &Config,
        site: &Site,
        run: &Run,
        commit: &CommitId,
        plan: &Plan,
    ) -> Result<Objects, StepError> {
        let estimated = |why: String| Ok(Objects::Estimated { why });
        let Some(forge) = config.forges.get(&run.forge) else {
            return estimated(format!("the forge {} cannot be asked", run.forge));
        };
        let upstream = Upstream::Forge(run.forge.clone());
        self.begin_planning(run).await?;
        if let Some(left) = self.left_alone(&upstream).await? {
            return estimated(has_not_answered(&run.forge, left.outage.since));
        }
        let files = self.heard(&upstream, forge.files(&run.repo, commit));
        match tokio::time::timeout(COUNT_LIMIT, files).await {
            Ok(Ok(Some(files))) => Ok(Objects::count(&site.rules, &files, plan)),
            Ok(Ok(None)) => estimated(format!(
                "{} does not list all files of {} at once",
                run.forge,
                commit.short()
            )),
            Ok(Err(error)) => estimated(error.to_string()),
            Err(_) => estimated(format!(
                "{} did not list the files of {} in time",
                run.forge,
                commit.short()
            )),
        }
    }

    /// Turns the name that the event gave for its commit into the commit.
    async fn resolve(
        &self,
        config: &Config,
        mut run: Run,
        name: &str,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let now = self.clock.now();
        let upstream = Upstream::Forge(run.forge.clone());
        let resolved = match config.forges.get(&run.forge) {
            Some(forge) => match (self.left_alone(&upstream).await?, &run.git_ref) {
                (Some(left), _) => Err(left.by_forge(&run.forge, None)),
                (None, Some(GitRef::Branch(branch))) if branch == name => {
                    let head = forge.branch_head(&run.repo, branch);
                    self.heard(&upstream, head).await
                }
                (None, Some(GitRef::Branch(_) | GitRef::Tag(_) | GitRef::Other(_)) | None) => {
                    let commit = forge.resolve(&run.repo, name);
                    self.heard(&upstream, commit).await
                }
            },
            None => Err(ForgeError::Refused(format!(
                "the forge {} is no longer configured",
                run.forge
            ))),
        };
        match resolved {
            Ok(commit) => {
                run.commit = CommitRef::Id(commit);
                let shown =
                    Write::Status(run.id.clone(), StatusState::Pending, run.summary.clone());
                Ok(Outcome::again(vec![Write::Run(run), shown], now, 0))
            }
            Err(ForgeError::Later {
                message,
                retry_after,
            }) if may_wait(&run, work, retry_after, now) => {
                run.summary = format!("Finding the commit; trying again: {message}");
                Ok(self.ask_again(run, work, &message, retry_after))
            }
            Err(error) => {
                let summary = format!("Cannot find the commit {name}: {error}");
                self.end(run, RunState::Errored, summary, now).await
            }
        }
    }

    /// Leaves a run's work to a newer one of the same site that has not planned yet.
    fn fold(&self, mut run: Run, newer: &Run, ground: &Ground) -> Outcome {
        let now = self.clock.now();
        let mut writes = ground.hold(&run);
        info!(run = %run.id, site = %run.site, "run {} is covered by {}", run.id, newer.id);
        run.state = RunState::Superseded;
        run.step = Step::Ended;
        run.ended_at = Some(now);
        run.covered_by = Some(newer.id.clone());
        run.summary = format!("Covered by {}, which is under way", newer.commit.short());
        writes.push(Write::Status(
            run.id.clone(),
            StatusState::Pending,
            run.summary.clone(),
        ));
        writes.push(Write::Run(run));
        Outcome::done(writes)
    }

    /// The same step again, after a while.
    fn ask_again(&self, run: Run, work: &Work, why: &str, asked: Option<Duration>) -> Outcome {
        warn!(run = %run.id, "the forge cannot be asked yet: {why}");
        let wait = backoff::backoff_at_least(work.attempts, self.clock.fraction(), asked);
        Outcome::again(
            vec![Write::Run(run)],
            self.clock.now() + wait,
            work.attempts + 1,
        )
    }
}

/// Everything was purged, and for as long as the site's `settle` caches may have filled anew with
/// what was there before: what changed can be told from then on.
fn wait_until_known(mut run: Run, known: Timestamp) -> Outcome {
    run.summary = format!(
        "Waiting until {}: before, caches may have filled anew from what was live at first",
        known.strftime("%Y-%m-%d %H:%M:%S UTC")
    );
    let shown = Write::Status(run.id.clone(), StatusState::Pending, run.summary.clone());
    Outcome::again(vec![Write::Run(run), shown], known, 0)
}

/// Whether a run can wait for the forge: not for ever, and not past its deadline,
/// where nothing could be purged any more.
fn may_wait(run: &Run, work: &Work, asked: Option<Duration>, now: Timestamp) -> bool {
    let wait = asked.unwrap_or_default().max(backoff::LONGEST);
    work.attempts < FORGE_TRIES && now + wait < run.deadline
}

/// The notes that are kept with a run: beyond so many, only how many more there are.
fn noted(notes: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = notes.iter().take(MOST_NOTES).cloned().collect();
    let more = notes.len().saturating_sub(MOST_NOTES);
    if more > 0 {
        kept.push(format!("and {more} more of this kind"));
    }
    kept
}

/// What the CDNs of a site can take.
pub fn capabilities(site: &Site) -> Vec<Capability> {
    site.cdns
        .iter()
        .filter_map(|name| {
            let limits = site.reach.limits(name)?;
            Some(Capability {
                cdn: name.clone(),
                kinds: limits.kinds.keys().copied().collect(),
                url_length: limits.url_length,
            })
        })
        .collect()
}

/// What each CDN of a site may still be asked for. One that cannot purge single URLs has no budget.
pub fn budgets(
    site: &Site,
    allowance: impl Fn(&str, PurgeKind) -> Option<Allowance>,
) -> BTreeMap<String, Budget> {
    site.cdns
        .iter()
        .filter_map(|name| {
            let budget = Budget {
                cover: site.cover,
                urls: allowance(name, PurgeKind::Url)?,
                directories: allowance(name, PurgeKind::Directory),
                roots: site.rules.roots(),
                objects: BTreeMap::new(),
            };
            Some((name.clone(), budget))
        })
        .collect()
}

/// The plan's purges, and the wishes that get them on their way.
fn begin_purging(
    cdns: &BTreeMap<String, Arc<dyn Cdn>>,
    run: &Run,
    plan: Plan,
    now: Timestamp,
) -> Vec<Write> {
    let covers = Covers::new(plan.purges.iter().map(|purge| (purge, ())));
    let mut lanes = BTreeSet::new();
    let mut rows = Vec::with_capacity(plan.purges.len());
    for purge in &plan.purges {
        let account = cdns
            .get(&purge.cdn)
            .map_or_else(String::new, |cdn| cdn.account());
        let waits = purge.kind == PurgeKind::Prefetch && !covers.of(purge).is_empty();
        if !waits {
            lanes.insert((account.clone(), purge.kind));
        }
        let state = if waits {
            PurgeState::Waiting
        } else {
            PurgeState::Planned
        };
        rows.push((purge.clone(), account, state));
    }
    let mut writes = vec![Write::Purges(run.id.clone(), rows)];
    for (account, kind) in lanes {
        writes.push(Write::Enqueue(WorkKey::Submit { account, kind }, now));
    }
    writes
}
