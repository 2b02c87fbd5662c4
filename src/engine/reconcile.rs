//! Coming back after being away: compares what the forge has with what purgehook knows.
//!
//! Webhooks get lost: the receiver was down, the forge gave up, the hook was
//! edited. So each site's branch (or environment) is looked at on start and every
//! few minutes, and a commit that no run is for becomes a run.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Engine, Outcome, RUN_LIMIT, StepError};
use crate::config::{Config, Site, Trigger};
use crate::event::{CommitId, GitRef};
use crate::forge::{Forge, ForgeError};
use crate::run::{Run, RunId, RunState, Step};
use crate::store::{StoreError, WorkKey, Write};

/// A run this young may be newer than what the forge just said: its replicas lag.
const YOUNG: Duration = Duration::from_secs(60);

impl Engine {
    /// Asks for a first look at every site.
    pub(super) async fn begin_reconciling(&self) -> Result<(), StoreError> {
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

    pub(super) async fn reconcile(&self, name: &str) -> Result<Outcome, StepError> {
        let config = self.config();
        let Some(site) = config
            .sites
            .get(name)
            .filter(|_| !config.server.reconcile.is_zero())
        else {
            return Ok(Outcome::done(Vec::new()));
        };
        let mut writes = Vec::new();
        for (git_ref, head) in self.heads(&config, site).await {
            match head {
                Ok(Some(head)) => writes.extend(self.compare(site, &git_ref, &head).await?),
                Ok(None) => {}
                Err(error) => warn!(
                    site = name,
                    "cannot see where {git_ref} of {} stands: {error}", site.repo
                ),
            }
        }
        let next = self.clock.now() + config.server.reconcile;
        Ok(Outcome::again(writes, next, 0))
    }

    /// Where each branch or environment that the site follows stands, as far as that can be asked.
    async fn heads(
        &self,
        config: &Config,
        site: &Site,
    ) -> Vec<(String, Result<Option<CommitId>, ForgeError>)> {
        let Some(forge) = config.forges.get(&site.forge) else {
            return Vec::new();
        };
        match &site.trigger {
            Trigger::Push => branch_heads(forge.as_ref(), site).await,
            Trigger::Deployment(environment) => {
                let head = forge.environment_head(&site.repo, environment).await;
                vec![(String::new(), head)]
            }
            // That a branch moved does not say that its workflow, pipeline or release came to an end.
            Trigger::Workflow(_) | Trigger::Pipeline(_) | Trigger::Release | Trigger::PageBuild => {
                Vec::new()
            }
        }
    }

    /// What a head asks for: nothing, a first note of it, or a run.
    async fn compare(
        &self,
        site: &Site,
        git_ref: &str,
        head: &CommitId,
    ) -> Result<Vec<Write>, StepError> {
        let now = self.clock.now();
        let known = self.store.newest_run(&site.name, Some(git_ref)).await?;
        let held = self.store.held(&site.name, now).await?;
        let Some(known) = known else {
            if !held.commits.is_empty() {
                return Ok(Vec::new());
            }
            // From now on purgehook knows of every change; what caches hold now is what is live now.
            info!(site = %site.name, "{} stands at {} to begin with", site.repo, head.short());
            return Ok(vec![
                Write::HeldAsOf(site.name.clone(), held.version),
                Write::Hold(site.name.clone(), vec![head.to_string()], now),
            ]);
        };
        let is_young = now < known.created_at + YOUNG;
        if known.commit == head.as_str() || is_young {
            return Ok(Vec::new());
        }
        warn!(site = %site.name, "{} moved to {} and no delivery said so", site.repo, head.short());
        Ok(vec![Write::NewRun(self.found(site, git_ref, head, now))])
    }

    fn found(&self, site: &Site, git_ref: &str, head: &CommitId, now: Timestamp) -> Run {
        Run {
            id: RunId(self.clock.new_id()),
            site: site.name.clone(),
            forge: site.forge.clone(),
            repo: site.repo.to_string(),
            git_ref: git_ref.to_owned(),
            before: None,
            commit: head.to_string(),
            delivery: None,
            origin: "reconciliation".to_owned(),
            covered_by: None,
            bases: Vec::new(),
            planned_at: None,
            state: RunState::Pending,
            step: Step::Changes,
            summary: "Found by reconciliation; finding out what changed".to_owned(),
            proof: None,
            problems: Vec::new(),
            created_at: now,
            deadline: now + RUN_LIMIT,
            ended_at: None,
        }
    }
}

/// Branches that are named, not matched by a pattern: only these can be asked for.
async fn branch_heads(
    forge: &dyn Forge,
    site: &Site,
) -> Vec<(String, Result<Option<CommitId>, ForgeError>)> {
    let mut heads = Vec::new();
    for branch in site.branches.iter().map(crate::rules::Glob::text) {
        if branch.contains(['*', '?', '[', '{']) {
            continue;
        }
        let head = forge.resolve(&site.repo, branch).await.map(Some);
        heads.push((GitRef::Branch(branch.to_owned()).to_string(), head));
    }
    heads
}
