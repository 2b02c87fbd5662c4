//! Runs that a person asks for.

use super::Engine;
use super::receive::new_run;
use crate::config::Site;
use crate::event::{CommitRef, GitRef};
use crate::rules::Glob;
use crate::run::{Origin, RunId};
use crate::store::StoreError;

impl Engine {
    /// Starts a run for a site at the head of `branch`: of what changed since
    /// its last success, or of everything.
    pub async fn start_by_hand(
        &self,
        site: &Site,
        branch: &str,
        everything: bool,
    ) -> Result<RunId, StoreError> {
        let origin = if everything {
            Origin::ManualEverything
        } else {
            Origin::Manual
        };
        let git_ref = GitRef::Branch(branch.to_owned());
        let head = CommitRef::Unresolved(branch.to_owned());
        let run = new_run(&self.clock, site, origin, Some(git_ref), head);
        self.store.start(&run, self.clock.now()).await?;
        self.work_available.notify_one();
        Ok(run.id)
    }
}

/// The branch of a site that needs no choosing: the one that it names without a pattern.
pub fn only_branch(site: &Site) -> Option<&str> {
    let mut named = site
        .branches
        .iter()
        .map(Glob::text)
        .filter(|text| !is_pattern(text));
    match (named.next(), named.next()) {
        (Some(branch), None) => Some(branch),
        _ => None,
    }
}

/// Whether a glob stands for more than one branch.
pub(super) fn is_pattern(glob: &str) -> bool {
    glob.contains(['*', '?', '[', '{'])
}
