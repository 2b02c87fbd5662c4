//! Compares each site's branch or environment at the forge with its runs, after a start and every few minutes.
//!
//! Webhooks get lost: the receiver was down, the forge gave up, the webhook was changed. So each site's head is
//! compared with its newest run. If no run is for the head, one is started, but only after a second look, since the
//! webhook may be on its way.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::Step;
use super::missed_deliveries;
use crate::config::{Config, Site, Trigger};
use crate::engine::context::StepContext;
use crate::engine::new_run::new_run;
use crate::engine::out_of_order;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::deadlines::FORGE_REPLICA_LAG;
use crate::engine::policy::match_sites::named_branches;
use crate::engine::upstream::ForgeHandle;
use crate::event::{CommitId, CommitRef, GitRef};
use crate::forge::ForgeError;
use crate::run::{Base, Origin, Run, RunState, WaitReason};
use crate::store::{HeldCommits, RepoKey, SiteCaches, StoreError, Work, WorkKey, Write};

/// How long the webhook for a new head may take: GitHub waits 10 seconds for its response ("Best practices for using
/// webhooks"), and so does GitLab.
const WEBHOOK_DELAY: Duration = Duration::from_secs(10);

/// Enqueues a first look at every site.
pub async fn begin(ctx: &StepContext) -> Result<(), StoreError> {
    let config = ctx.config();
    if config.server.reconcile.is_zero() {
        return Ok(());
    }
    for site in config.sites.keys() {
        let key = WorkKey::Reconcile { site: site.clone() };
        ctx.store.ask(&key, ctx.now()).await?;
    }
    Ok(())
}

/// The step that compares a site with its forge.
pub struct Reconcile<'a> {
    pub site: &'a str,
}

/// The head of a branch or of an environment, which is no ref.
struct Head {
    git_ref: Option<GitRef>,
    commit: Result<Option<CommitId>, ForgeError>,
}

/// The result of the comparison.
#[derive(Default)]
struct Found {
    /// The heads of a new site's refs.
    first: Vec<CommitId>,
    /// New runs for heads that have none.
    missing: Vec<Run>,
    /// When to check heads again whose newest run may be newer than the forge's answer.
    look_again: Option<Timestamp>,
}

/// Whether a head has a run.
enum Seen {
    /// It has one, or needs none.
    Known,
    /// The newest run may be newer than the forge's answer, until this time.
    Undecided(Timestamp),
    /// It has none. This is the new run.
    Missing(Box<Run>),
}

impl Step for Reconcile<'_> {
    async fn run(self, ctx: &StepContext, _work: &Work) -> Result<Outcome, StepError> {
        let config = ctx.config();
        let Some(site) = site(&config, self.site) else {
            return Ok(Outcome::complete(Vec::new()));
        };
        let interval = config.server.reconcile;
        let Some(forge) = ctx.upstreams.forge(&config, &site.forge) else {
            return Ok(Outcome::reschedule(Vec::new(), ctx.now() + interval));
        };
        if let Some(rejection) = forge.rejection().await? {
            let at = ctx.now() + rejection.wait;
            return Ok(Outcome::reschedule(Vec::new(), at));
        }
        // Another process may have recorded a denial: the first accepted request ends it.
        let key = RepoKey::new(&site.forge, &site.repo);
        ctx.upstreams.denials.of(&key).await?;
        let caches = SiteCaches::real(&site.name);
        let held = ctx.store.held(&caches, ctx.now()).await?;
        let is_new =
            held.commits.is_empty() && ctx.store.newest_run(self.site, None).await?.is_none();
        // First, because these deliveries may bring the missing runs.
        missed_deliveries::accept(ctx, &config, site, &forge, is_new).await?;
        let compared = compare(ctx, site, &forge, &held, is_new).await?;
        let Found {
            first,
            missing,
            look_again,
        } = compared;
        let mut writes = Vec::new();
        if !missing.is_empty() {
            // Their webhooks may be on their way.
            let site = site.name.clone();
            let at = ctx.now() + WEBHOOK_DELAY;
            writes.push(Write::Enqueue(WorkKey::ConfirmHeads { site }, at));
        }
        if !first.is_empty() {
            // From now on purgehook learns of every change, and caches now hold what is live now.
            let commits: Vec<&str> = first.iter().map(CommitId::as_str).collect();
            let commits = commits.join(", ");
            info!(
                "{} is at {commits} at first; later changes are compared with that",
                site.repo
            );
            let first = first.into_iter().map(Base::Commit).collect();
            writes.push(Write::ExpectHeldVersion(caches.clone(), held.version));
            writes.push(Write::Hold(caches, first, held.version + 1));
        }
        let next = ctx.now() + interval;
        let next = look_again.map_or(next, |again| again.min(next));
        Ok(Outcome::reschedule(writes, next))
    }
}

/// The step that checks heads without runs a second time, and starts the runs that are still missing.
pub struct ConfirmHeads<'a> {
    pub site: &'a str,
}

impl Step for ConfirmHeads<'_> {
    async fn run(self, ctx: &StepContext, _work: &Work) -> Result<Outcome, StepError> {
        let config = ctx.config();
        let site = site(&config, self.site);
        let Some((site, forge)) = site.and_then(|site| {
            let forge = ctx.upstreams.forge(&config, &site.forge)?;
            Some((site, forge))
        }) else {
            return Ok(Outcome::complete(Vec::new()));
        };
        let caches = SiteCaches::real(&site.name);
        let held = ctx.store.held(&caches, ctx.now()).await?;
        let compared = compare(ctx, site, &forge, &held, false).await?;
        let Found {
            missing,
            look_again,
            ..
        } = compared;
        let mut writes = Vec::with_capacity(missing.len());
        for run in missing {
            let at = run.commit.short();
            warn!(
                "{} is at {at}, and no run exists for that commit",
                site.repo
            );
            writes.push(Write::NewRun(run));
        }
        Ok(match look_again {
            None => Outcome::complete(writes),
            Some(again) => Outcome::reschedule(writes, again),
        })
    }
}

/// A site, if it is to be compared with its forge.
fn site<'c>(config: &'c Config, name: &str) -> Option<&'c Site> {
    let site = config.sites.get(name);
    site.filter(|_| !config.server.reconcile.is_zero())
}

/// Compares the heads of a site with its runs.
async fn compare(
    ctx: &StepContext,
    site: &Site,
    forge: &ForgeHandle<'_>,
    held: &HeldCommits,
    is_new: bool,
) -> Result<Found, StepError> {
    let mut found = Found::default();
    for Head { git_ref, commit } in heads(site, forge).await? {
        match commit {
            // After a deployment, it is unknown what was live before; a push names it.
            Ok(Some(_)) if is_new && site.trigger != Trigger::Push => {}
            Ok(Some(head)) if is_new => found.first.push(head),
            Ok(Some(head)) => match look_at(ctx, site, git_ref, head, held).await? {
                Seen::Known => {}
                Seen::Undecided(until) => {
                    let earliest = found.look_again.map_or(until, |at| at.min(until));
                    found.look_again = Some(earliest);
                }
                Seen::Missing(run) => found.missing.push(*run),
            },
            Ok(None) => {}
            Err(error) => {
                let git_ref = git_ref.map_or_else(String::new, |git_ref| git_ref.to_string());
                warn!(
                    "cannot read the head of {git_ref} of {}: {error}",
                    site.repo
                );
            }
        }
    }
    Ok(found)
}

/// The heads of the branches or environments that the site follows, as far as a forge can be asked for them.
async fn heads(site: &Site, forge: &ForgeHandle<'_>) -> Result<Vec<Head>, StepError> {
    let mut heads = Vec::new();
    match &site.trigger {
        Trigger::Push => {
            for branch in named_branches(site) {
                let commit = match forge.branch_head(&site.repo, branch).await {
                    Ok(head) => Ok(Some(head)),
                    Err(error) => Err(error.failed()?),
                };
                let git_ref = Some(GitRef::Branch(branch.to_owned()));
                heads.push(Head { git_ref, commit });
            }
        }
        Trigger::Deployment(environment) => {
            let commit = match forge.environment_head(&site.repo, environment).await {
                Ok(head) => Ok(head),
                Err(error) => Err(error.failed()?),
            };
            let git_ref = None;
            heads.push(Head { git_ref, commit });
        }
        // A branch that moved does not show that its workflow, pipeline or release has ended.
        Trigger::Workflow(_) | Trigger::Pipeline(_) | Trigger::Release | Trigger::PageBuild => {}
    }
    Ok(heads)
}

/// Checks whether a head has a run.
async fn look_at(
    ctx: &StepContext,
    site: &Site,
    git_ref: Option<GitRef>,
    head: CommitId,
    held: &HeldCommits,
) -> Result<Seen, StoreError> {
    let newest = out_of_order::newest_run(ctx, &site.name, git_ref.as_ref()).await?;
    let is_known = match newest {
        Some(run) if run.commit.id() == Some(&head) => !is_owed(&run, site),
        Some(run) => {
            let decided_at = run.created_at + FORGE_REPLICA_LAG;
            if ctx.now() < decided_at {
                return Ok(Seen::Undecided(decided_at));
            }
            false
        }
        // The head has not moved since the site was new.
        None => held.commits.contains(&Base::Commit(head.clone())),
    };
    if is_known {
        return Ok(Seen::Known);
    }
    let (origin, head) = (Origin::Reconciliation, CommitRef::Id(head));
    let run = new_run(&ctx.clock, site, origin, git_ref, head);
    Ok(Seen::Missing(Box::new(run)))
}

/// Whether a run's purges are still due: its site was in dry-run mode and no longer is, or the run gave up waiting for
/// a forge that denied requests. The forge has just answered.
fn is_owed(run: &Run, site: &Site) -> bool {
    let gave_up =
        run.state.can_be_retried() && matches!(run.waits_for, Some(WaitReason::Denied { .. }));
    gave_up || !site.mode.is_dry_run() && (run.dry_run || run.state == RunState::Cancelled)
}
