//! Runs that a person asks for.

use super::Engine;
use super::receive::new_run;
use crate::config::Site;
use crate::event::GitRef;
use crate::rules::Glob;
use crate::run::RunId;
use crate::store::StoreError;

/// How a run came about that a person asked for.
const ORIGIN: &str = "by hand";
/// How a run came about that purges everything because a person asked for it.
pub(super) const EVERYTHING: &str = "everything by hand";

impl Engine {
    /// Starts a run for a site at the head of `branch`: of what changed since
    /// its last success, or of everything.
    pub async fn start_by_hand(
        &self,
        site: &Site,
        branch: &str,
        everything: bool,
    ) -> Result<RunId, StoreError> {
        let origin = if everything { EVERYTHING } else { ORIGIN };
        let git_ref = GitRef::Branch(branch.to_owned()).to_string();
        let run = new_run(&self.clock, site, origin, &git_ref, branch);
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
