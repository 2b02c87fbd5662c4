//! A commit that is deployed again. Git shows no difference, but the origin may serve other content: a build depends on
//! more than the files in git.
//!
//! What an earlier deployment of the commit was compared with becomes held again, as if it had been live until now. So
//! the run purges the same paths as the earlier one, and a later run does so if this one fails or leaves its work to it.

use crate::config::{Redeploy, Site, WhenUnknown};
use crate::run::{Base, Run};
use crate::store::{RunFilter, Store, StoreError};

/// The maximum number of earlier runs for the same commit that are read.
const MAX_EARLIER: u32 = 5;
/// The maximum number of runs, each of which left its work to the next, that are followed.
const MAX_COVERS: usize = 5;

/// What a run purges because its commit was deployed before.
#[derive(Default)]
pub(super) struct Redeployment {
    /// What caches may hold besides the held commits.
    pub bases: Vec<Base>,
    /// Whether the site's rules say that everything is purged.
    pub everything: bool,
}

/// The redeployment that a run is for. Empty if its commit was not deployed before, or if that does not matter to the
/// site.
pub(super) async fn of(
    store: &Store,
    site: Option<&Site>,
    run: &Run,
) -> Result<Redeployment, StoreError> {
    let (Some(site), Some(commit), true) = (site, run.commit.id(), run.origin.is_deployment())
    else {
        return Ok(Redeployment::default());
    };
    if site.redeploy == Redeploy::Nothing {
        return Ok(Redeployment::default());
    }
    let same_commit = RunFilter {
        site: Some(run.site.clone()),
        commit: Some(commit.clone()),
        before: Some(run.id.clone()),
        limit: MAX_EARLIER,
        ..RunFilter::default()
    };
    let earlier = store.runs(&same_commit).await?;
    let everything = site.redeploy == Redeploy::Everything
        && earlier.iter().any(|run| run.origin.is_deployment());
    // Where the unknown makes runs fail, a person has dealt with it, or will.
    let may_be_unknown = site.when_unknown == WhenUnknown::Everything;
    if everything && may_be_unknown {
        let bases = vec![Base::Unknown];
        return Ok(Redeployment { bases, everything });
    }
    for run in earlier {
        let mut bases = compared_with(store, run).await?;
        bases.retain(|base| base.commit() != Some(commit));
        if !bases.is_empty() {
            bases.retain(|base| base.commit().is_some() || may_be_unknown);
            return Ok(Redeployment { bases, everything });
        }
    }
    let bases = Vec::new();
    Ok(Redeployment { bases, everything })
}

/// What a run was compared with, or the run that did its work.
async fn compared_with(store: &Store, mut run: Run) -> Result<Vec<Base>, StoreError> {
    for _ in 0..MAX_COVERS {
        let Some(cover) = run.covered_by else { break };
        match store.run(&cover).await? {
            Some(cover) => run = cover,
            None => return Ok(Vec::new()),
        }
    }
    Ok(run.bases)
}
