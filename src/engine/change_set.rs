//! Computes a run's change set: the union of the differences from every commit that caches may hold, found link by
//! link along their chain ([`commit_chain`](super::policy::commit_chain)).

use std::sync::Arc;

use super::context::StepContext;
use super::diff_cache::{Cached, CommitPair, Difference};
use super::outcome::StepError;
use super::planner;
use super::policy::commit_chain::{chain, union};
use super::policy::deadlines::STEP_LIMIT;
use super::upstream::ForgeHandle;
use crate::changes::{ChangeSet, Proof};
use crate::config::Config;
use crate::event::{CommitId, Event};
use crate::forge::{ForgeError, Verified};
use crate::run::{Base, Link, Run, RunChanges};
use crate::store::StoredDelivery;

/// The result of computing a run's change set.
pub(super) enum Search {
    /// It is known, or it is certain that it cannot be known.
    Found(Found),
    /// The forge did not answer.
    Failed(ForgeError),
}

/// A change set, or why there is none.
pub(super) enum Found {
    /// The complete change set.
    Known { proof: Proof, changes: RunChanges },
    /// It cannot be known.
    Unknown { why: String },
}

impl Found {
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }
}

impl From<Found> for Search {
    fn from(found: Found) -> Self {
        Self::Found(found)
    }
}

/// The result of comparing one link.
enum LinkSearch {
    Found(Arc<Difference>),
    /// The search ends here: without this link, the others are of no use.
    End(Search),
}

/// Finds the paths that differ between the run's `commit` and any of `bases`, which are in the order in which they
/// were live. The pushes of the run and of the `older` runs whose work it does may list some of them.
pub(super) async fn find(
    ctx: &StepContext,
    config: &Config,
    run: &Run,
    older: &[Run],
    commit: &CommitId,
    bases: &[Base],
) -> Result<Search, StepError> {
    // Leaves time within the step to commit its outcome.
    let limit = STEP_LIMIT * 9 / 10;
    let compared = compare(ctx, config, run, older, commit, bases);
    match tokio::time::timeout(limit, compared).await {
        Ok(search) => search,
        Err(_) => Ok(Found::unknown("comparing the commits took too long").into()),
    }
}

async fn compare(
    ctx: &StepContext,
    config: &Config,
    run: &Run,
    older: &[Run],
    commit: &CommitId,
    bases: &[Base],
) -> Result<Search, StepError> {
    let bases: Option<Vec<&CommitId>> = bases.iter().map(Base::commit).collect();
    let Some(bases) = bases else {
        return Ok(Found::unknown("it is not known what the caches hold").into());
    };
    let Some(forge) = ctx.upstreams.forge(config, &run.forge) else {
        let why = format!("the forge {} is no longer configured", run.forge);
        return Ok(Search::Failed(ForgeError::Refused(why)));
    };
    let runs = || std::iter::once(run).chain(older);
    // The commits of runs that left their work to these are held, so a single base has no link but the run's own.
    let covered = match bases.len() {
        0 | 1 => Vec::new(),
        _ => ctx.store.covered_by(runs().map(|run| &run.id)).await?,
    };
    let pushes = runs().chain(&covered);
    let pushes: Vec<KnownPush<'_>> = pushes.filter_map(KnownPush::of).collect();
    let mut comparison = Comparison {
        ctx,
        forge,
        run,
        pushes: &pushes,
        is_planner: false,
    };
    let mut links = Vec::with_capacity(bases.len());
    let moves: Vec<_> = pushes
        .iter()
        .map(|push| (push.before, push.after))
        .collect();
    let chain = chain(&bases, &moves, commit);
    for (from, to) in chain.iter().zip(chain.iter().skip(1)) {
        match comparison.link(from, to).await? {
            LinkSearch::Found(difference) => {
                links.push(((*from).clone(), (*to).clone(), difference))
            }
            LinkSearch::End(search) => return Ok(search),
        }
    }
    let links = links.iter().map(|(from, to, difference)| {
        let link = Link {
            from: from.clone(),
            to: to.clone(),
            proof: difference.proof,
            files: 0,
        };
        (link, &difference.files)
    });
    let (proof, changes) = union(links);
    Ok(Found::Known { proof, changes }.into())
}

/// A push that was delivered.
struct KnownPush<'a> {
    before: &'a CommitId,
    after: &'a CommitId,
    delivery: &'a str,
}

impl<'a> KnownPush<'a> {
    /// The push that a run was for.
    fn of(run: &'a Run) -> Option<Self> {
        Some(Self {
            before: run.before.as_ref()?,
            after: run.commit.id()?,
            delivery: run.delivery.as_deref()?,
        })
    }
}

/// The comparison of one run's links.
struct Comparison<'a> {
    ctx: &'a StepContext,
    forge: ForgeHandle<'a>,
    run: &'a Run,
    /// The pushes of the run and of those whose work it does.
    pushes: &'a [KnownPush<'a>],
    /// Whether the run already is its site's planner.
    is_planner: bool,
}

impl Comparison<'_> {
    /// The difference between two neighbours of the chain.
    async fn link(&mut self, from: &CommitId, to: &CommitId) -> Result<LinkSearch, StepError> {
        let Self { ctx, run, .. } = *self;
        let pair = CommitPair {
            forge: run.forge.clone(),
            repo: run.repo.clone(),
            from: from.clone(),
            to: to.clone(),
        };
        let mut pushes = self.pushes.iter();
        let push = pushes.find(|push| push.before == from && push.after == to);
        let listed = match (ctx.diffs.get(&pair), push) {
            (Some(Cached::Difference(difference)), _) => return Ok(LinkSearch::Found(difference)),
            (None, Some(push)) => self.listed(push.delivery).await?,
            (Some(Cached::NotListed), _) | (None, None) => None,
        };
        let changes = match listed {
            Some(listed) => listed,
            None => match self.ask(&pair).await? {
                Ok(changes) => changes,
                Err(error) => return Ok(LinkSearch::End(Search::Failed(error))),
            },
        };
        Ok(match changes {
            ChangeSet::Complete { proof, files } => {
                LinkSearch::Found(ctx.diffs.put(pair, Difference { proof, files }))
            }
            ChangeSet::Unknown { why } => LinkSearch::End(Found::Unknown { why }.into()),
        })
    }

    /// Asks the forge for the difference between two commits.
    async fn ask(&mut self, pair: &CommitPair) -> Result<Result<ChangeSet, ForgeError>, StepError> {
        if !self.is_planner {
            planner::acquire(self.ctx, self.run).await?;
            self.is_planner = true;
        }
        match self.forge.changes(&pair.repo, &pair.from, &pair.to).await {
            Ok(changes) => Ok(Ok(changes)),
            Err(error) => Ok(match error.into_forge_error(self.forge.name)? {
                ForgeError::Gone(why) => Ok(ChangeSet::unknown(why)),
                error @ (ForgeError::Later { .. }
                | ForgeError::Refused(_)
                | ForgeError::Denied { .. }) => Err(error),
            }),
        }
    }

    /// The paths that a stored delivery lists as changed, if it proves that the list is complete.
    async fn listed(&self, id: &str) -> Result<Option<ChangeSet>, StepError> {
        let Some(delivery) = self.ctx.store.delivery(id).await? else {
            return Ok(None);
        };
        let verified = Verified {
            delivery_id: delivery.forge_delivery,
            event: delivery.event,
        };
        let StoredDelivery {
            content_type, body, ..
        } = delivery;
        let understand = |body: &[u8]| self.forge.understand(&verified, &content_type, body);
        let (store, large_bodies) = (&self.ctx.store, &self.ctx.large_bodies);
        let event = large_bodies.read_stored(store, &body, understand).await?;
        Ok(match event {
            Ok(Event::Push(push)) => match push.listed {
                listed @ ChangeSet::Complete { .. } => Some(listed),
                ChangeSet::Unknown { .. } => None,
            },
            Ok(_) | Err(_) => None,
        })
    }
}
