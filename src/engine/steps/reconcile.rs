//! Coming back after being away: compares what the forge has with what purgehook knows.
//!
//! Webhooks get lost: the receiver was down, the forge gave up, the hook was
//! edited. So each site's branch (or environment) is looked at on start and every
//! few minutes, and a commit that no run is for becomes a run: on a second look,
//! since the webhook that tells of it may be on its way.

use std::time::Duration;

use tracing::{info, warn};

use crate::config::{Config, Site, Trigger};
use crate::engine::manual::is_pattern;
use crate::engine::receive::new_run;
use crate::engine::{Engine, Outcome, StepError};
use crate::event::{CommitId, CommitRef, GitRef};
use crate::forge::{Forge, ForgeError};
use crate::run::{Base, Origin, Run, RunState};
use crate::store::{HeldCommits, StoreError, Upstream, Work, WorkKey, Write};

/// A run this young may be newer than what the forge just said: its replicas lag.
const YOUNG: Duration = Duration::from_secs(60);
/// How long the webhook that tells of a new head may be on its way: GitHub waits 10 seconds
/// for its answer ("Best practices for using webhooks"), as GitLab does.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// Branches, or an environment, which is no ref, and where each stands.
type Heads = Vec<(Option<GitRef>, Result<Option<CommitId>, ForgeError>)>;

impl Engine {
    /// Asks for a first look at every site.
    pub(in crate::engine) async fn begin_reconciling(&self) -> Result<(), StoreError> {
        let config = self.config();
        if config.server.reconcile.is_zero() {
            return Ok(());
        }
        for site in config.sites.keys() {
            self.store
                .ask(&WorkKey::Reconcile { site: site.clone() }, self.clock.now())
                .await?;
        }
        Ok(())
    }

    pub(in crate::engine) async fn reconcile(
        &self,
        name: &str,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let config = self.config();
        let Some(site) = config
            .sites
            .get(name)
            .filter(|_| !config.server.reconcile.is_zero())
        else {
            return Ok(Outcome::done(Vec::new()));
        };
        let upstream = Upstream::Forge(site.forge.clone());
        if let Some(left) = self.left_alone_for_now(&upstream).await? {
            let at = self.clock.now() + left.wait;
            return Ok(Outcome::again(Vec::new(), at, 0));
        }
        let held = self.store.held(&site.name, self.clock.now()).await?;
        let is_new = held.commits.is_empty() && self.store.newest_run(name, None).await?.is_none();
        // First: what it brings makes the heads known.
        self.take_missed(&config, site, is_new).await?;
        let (mut first, mut missing) = (Vec::new(), Vec::new());
        for (git_ref, head) in self.heads(&config, site).await? {
            match head {
                // What was live before a deployment nobody can say once it is done; a push says it itself.
                Ok(Some(_)) if is_new && site.trigger != Trigger::Push => {}
                Ok(Some(head)) if is_new => first.push(head),
                Ok(Some(head)) => missing.extend(self.compare(site, git_ref, head, &held).await?),
                Ok(None) => {}
                Err(error) => {
                    warn!(
                        site = name,
                        "cannot see where {} of {} stands: {error}",
                        git_ref.map_or_else(String::new, |git_ref| git_ref.to_string()),
                        site.repo
                    );
                }
            }
        }
        if work.attempts == 0 && !missing.is_empty() {
            let at = self.clock.now() + ON_ITS_WAY;
            return Ok(Outcome::again(Vec::new(), at, 1));
        }
        let mut writes = Vec::new();
        for run in missing {
            warn!(
                site = name,
                "{} stands at {} and no run has seen to it",
                site.repo,
                run.commit.short()
            );
            writes.push(Write::NewRun(run));
        }
        if !first.is_empty() {
            // From now on purgehook knows of every change; what caches hold now is what is live now.
            info!(
                site = name,
                "{} stands at {} to begin with",
                site.repo,
                first
                    .iter()
                    .map(CommitId::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            writes.push(Write::ExpectHeldVersion(site.name.clone(), held.version));
            let first = first.into_iter().map(Base::Commit).collect();
            writes.push(Write::Hold(site.name.clone(), first, held.version + 1));
        }
        let next = self.clock.now() + config.server.reconcile;
        Ok(Outcome::again(writes, next, 0))
    }

    /// Where each branch or environment that the site follows stands, as far as that can be asked.
    async fn heads(&self, config: &Config, site: &Site) -> Result<Heads, StepError> {
        let Some(forge) = config.forges.get(&site.forge) else {
            return Ok(Vec::new());
        };
        match &site.trigger {
            Trigger::Push => self.branch_heads(forge.as_ref(), site).await,
            Trigger::Deployment(environment) => {
                let upstream = Upstream::Forge(site.forge.clone());
                self.may_ask(&upstream).await?;
                let head = forge.environment_head(&site.repo, environment);
                let head = self.heard(&upstream, head).await;
                Ok(vec![(None, head)])
            }
            // That a branch moved does not say that its workflow, pipeline or release came to an end.
            Trigger::Workflow(_) | Trigger::Pipeline(_) | Trigger::Release | Trigger::PageBuild => {
                Ok(Vec::new())
            }
        }
    }

    /// The run that is missing for a head; none where all is well.
    async fn compare(
        &self,
        site: &Site,
        git_ref: Option<GitRef>,
        head: CommitId,
        held: &HeldCommits,
    ) -> Result<Option<Run>, StoreError> {
        let now = self.clock.now();
        let newest = self.store.newest_run(&site.name, git_ref.as_ref()).await?;
        let is_known = match newest {
            Some(run) if run.commit.id() == Some(&head) => !is_owed(&run, site),
            Some(run) => now < run.created_at + YOUNG,
            // It stands where it stood when purgehook came to it.
            None => held.commits.contains(&Base::Commit(head.clone())),
        };
        if is_known {
            return Ok(None);
        }
        let (origin, head) = (Origin::Reconciliation, CommitRef::Id(head));
        Ok(Some(new_run(&self.clock, site, origin, git_ref, head)))
    }

    /// Branches that are named, not matched by a pattern: only these can be asked for.
    async fn branch_heads(&self, forge: &dyn Forge, site: &Site) -> Result<Heads, StepError> {
        let upstream = Upstream::Forge(site.forge.clone());
        let mut heads = Vec::new();
        for branch in site.branches.iter().map(crate::rules::Glob::text) {
            if is_pattern(branch) {
                continue;
            }
            self.may_ask(&upstream).await?;
            let head = forge.branch_head(&site.repo, branch);
            let head = self.heard(&upstream, head).await.map(Some);
            heads.push((Some(GitRef::Branch(branch.to_owned())), head));
        }
        Ok(heads)
    }
}

/// Whether a run's purges were not made since its site was observed, which it is no longer.
fn is_owed(run: &Run, site: &Site) -> bool {
    !site.reach.is_observed() && (run.observed || run.state == RunState::Cancelled)
}
