//! Makes a plan, asking the upstreams for the facts that it needs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::StepContext;
use super::outcome::StepError;
use super::planner;
use super::policy::deadlines::STEP_LIMIT;
use super::quota_shares::{self, CdnQueue};
use super::upstream::{RequestError, has_not_answered};
use crate::config::{Config, PurgeMode, Site};
use crate::event::CommitId;
use crate::plan::{self, Allowance, Change, CoverDecision, Decision, Objects};
use crate::purge::PurgeKind;
use crate::run::Run;
use crate::store::StoreError;

/// How long the forge may take to list a commit's files: what computing the change set leaves of the step, less the
/// time to commit its outcome.
const LIST_LIMIT: Duration = Duration::from_secs(STEP_LIMIT.as_secs() / 20);

/// Plans a change, and asks for the facts that the plan needs.
pub(super) async fn decide(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    change: Change<'_>,
) -> Result<plan::Plan, StepError> {
    let cdns = site.capabilities();
    let draft = match plan::decide(&site.rules, &cdns, site.cover, change) {
        Decision::Plan(plan) => return Ok(plan),
        Decision::NeedsAllowances(draft) => draft,
    };
    let allowances = allowances(ctx, config, site).await?;
    let allowance = |cdn: &str, kind| allowances.get(&(cdn.to_owned(), kind)).copied();
    match draft.with_allowances(allowance) {
        CoverDecision::Plan(plan) => Ok(plan),
        CoverDecision::NeedsObjects(uncovered) => {
            let objects = objects(ctx, config, site, run, commit, uncovered.plan()).await?;
            Ok(uncovered.with_objects(objects))
        }
    }
}

/// What each CDN of a site has left of today's quota.
async fn allowances(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
) -> Result<BTreeMap<(String, PurgeKind), Allowance>, StoreError> {
    let mut allowances = BTreeMap::new();
    match &site.mode {
        PurgeMode::Live(cdns) => {
            for (name, cdn) in cdns {
                let account = cdn.account();
                let Some(handle) = ctx.upstreams.cdn(config, name, &account) else {
                    continue;
                };
                for (kind, limit) in &cdn.limits().kinds {
                    let left = handle.quota_left(*kind, *limit).await?;
                    let queue = CdnQueue {
                        account: &account,
                        kind: *kind,
                        cdn: name,
                    };
                    let share = quota_shares::largest_share(ctx, config, &site.name, queue, left);
                    let allowance = Allowance {
                        per_request: left.per_request,
                        left: Some(share.await?),
                    };
                    allowances.insert((name.clone(), *kind), allowance);
                }
            }
        }
        // A dry run asks no CDN and has submitted nothing.
        PurgeMode::DryRun(cdns) => {
            for (name, limits) in cdns {
                for (kind, limit) in &limits.kinds {
                    let allowance = Allowance {
                        per_request: limit.per_request,
                        left: Some(limit.per_day),
                    };
                    allowances.insert((name.clone(), *kind), allowance);
                }
            }
        }
    }
    Ok(allowances)
}

/// The number of objects in the directories above a plan's purges, at the run's commit. If the forge does not
/// answer in time, the cover uses estimates.
async fn objects(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    plan: &plan::Plan,
) -> Result<Objects, StepError> {
    let estimated = |why: String| Ok(Objects::Estimated { why });
    let Some(forge) = ctx.upstreams.forge(config, &run.forge) else {
        return estimated(format!("the forge {} cannot be asked", run.forge));
    };
    planner::acquire(ctx, run).await?;
    let files = match tokio::time::timeout(LIST_LIMIT, forge.files(&run.repo, commit)).await {
        Ok(files) => files,
        Err(_) => {
            let of = commit.short();
            return estimated(format!(
                "{} did not list the files of {of} in time",
                run.forge
            ));
        }
    };
    match files {
        Ok(Some(files)) => Ok(Objects::count(&site.rules, &files, plan)),
        Ok(None) => estimated(format!(
            "{} does not list all files of {} at once",
            run.forge,
            commit.short()
        )),
        Err(RequestError::Store(error)) => Err(error.into()),
        Err(RequestError::CircuitOpen(rejection)) => {
            estimated(has_not_answered(&run.forge, rejection.circuit.since))
        }
        Err(RequestError::Failed(error)) => estimated(error.to_string()),
    }
}
