//! Posts the newest status of a run on its commit until the forge accepts it.

use std::time::Duration;

use tracing::{debug, warn};

use super::Step;
use crate::config::{Config, Site};
use crate::engine::context::StepContext;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::backoff::backoff_at_least;
use crate::engine::policy::statuses::{
    PostDecision, decision, newest_besides, pending_before, withheld,
};
use crate::event::{CommitId, GitRef};
use crate::forge::{ForgeError, PostOutcome, StatusPost};
use crate::run::{Run, RunId, StatusState};
use crate::store::{Posting, StoreError, StoredStatus, Work, Write};

/// How long to retry posting a status to a forge that cannot be reached.
const POST_LIMIT: Duration = Duration::from_secs(48 * 60 * 60);
/// How often to retry posting a status that the forge refused.
const REFUSED_POST_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The step that posts a run's status.
pub struct Report<'a> {
    pub run: &'a RunId,
}

impl Step for Report<'_> {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let Some(run) = ctx.store.run(self.run).await? else {
            return Ok(Outcome::complete(Vec::new()));
        };
        // Only the newest one counts; earlier ones that were never posted are skipped.
        let mut statuses = ctx.store.statuses(&run.id).await?;
        let Some(wanted) = statuses.pop().filter(|wanted| wanted.posted_at.is_none()) else {
            return Ok(Outcome::complete(Vec::new()));
        };
        let Some(commit) = run.commit.id() else {
            // The commit is still a branch, a tag or a short id: the run's first step resolves it.
            return Ok(if run.state.is_final() {
                not_posted(
                    &run,
                    &wanted,
                    "not sent: there is no commit to show it on".to_owned(),
                )
            } else {
                Outcome::complete(Vec::new())
            });
        };
        let config = ctx.config();
        let site = config.sites.get(&run.site);
        let dry_run = run.dry_run || site.is_some_and(|site| site.mode.is_dry_run());
        let was_shown = statuses.iter().any(|status| status.posted_at.is_some());
        let mut pending = 0;
        let decided = match withheld(&run, dry_run, was_shown) {
            Some(withheld) => withheld,
            None => {
                let on_commit = ctx.store.statuses_on(&run.site, commit).await?;
                pending = pending_before(&on_commit);
                decision(&run.id, &wanted, &on_commit)
            }
        };
        match decided {
            PostDecision::NotPosted(why) => return Ok(not_posted(&run, &wanted, why)),
            PostDecision::ShownSince(since) => {
                let posted = Write::Posted(run.id.clone(), wanted.seq, Posting::Posted(since));
                return Ok(Outcome::complete(vec![posted]));
            }
            PostDecision::Post => {}
        }
        let Some(forge) = ctx.upstreams.forge(&config, &run.forge) else {
            let why = format!("not sent: the forge {} is no longer configured", run.forge);
            return Ok(not_posted(&run, &wanted, why));
        };
        let status = StatusPost {
            pending_before: pending,
            ..status(&config, site, &run, &wanted)
        };
        match forge.post_status(&run.repo, commit, &status).await {
            Ok(PostOutcome::KeptEarlierText(why)) => Ok(not_posted(&run, &wanted, why.to_owned())),
            Ok(PostOutcome::Posted) => {
                debug!(
                    state = wanted.state.as_str(),
                    "posted a status on {}",
                    commit.short()
                );
                Ok(posted(ctx, &run, commit, &wanted).await?)
            }
            Err(error) => {
                let error = error.into_forge_error_to_wait_for(forge.name)?;
                Ok(failed(ctx, &run, &wanted, &error, work))
            }
        }
    }
}

/// The status as it is sent to the forge.
fn status(config: &Config, site: Option<&Site>, run: &Run, wanted: &StoredStatus) -> StatusPost {
    StatusPost {
        state: match wanted.state {
            // A dry run purged nothing, so it is no success.
            StatusState::Success if run.dry_run => StatusState::Error,
            state => state,
        },
        context: site.map_or_else(
            || format!("purgehook/{}", run.site),
            |site| site.status_context.clone(),
        ),
        description: wanted.description.clone(),
        target_url: page_of(config, run),
        ref_name: run.git_ref.as_ref().map_or("", GitRef::name).to_owned(),
        pending_before: 0,
    }
}

/// The forge accepted the status. In the meantime another run may have requested a newer one, and the forge may
/// have accepted that first: post the newer one again.
async fn posted(
    ctx: &StepContext,
    run: &Run,
    commit: &CommitId,
    wanted: &StoredStatus,
) -> Result<Outcome, StoreError> {
    let mut writes = vec![Write::Posted(
        run.id.clone(),
        wanted.seq,
        Posting::Posted(ctx.now()),
    )];
    let on_commit = ctx.store.statuses_on(&run.site, commit).await?;
    if let Some((newer, status)) = newest_besides(&run.id, wanted, &on_commit) {
        let description = status.description.clone();
        writes.push(Write::Status(newer.clone(), status.state, description));
    }
    Ok(Outcome::complete(writes))
}

/// The forge did not accept the status.
fn failed(
    ctx: &StepContext,
    run: &Run,
    wanted: &StoredStatus,
    error: &ForgeError,
    work: &Work,
) -> Outcome {
    let now = ctx.now();
    let may_try_again = now < wanted.wanted_at + POST_LIMIT;
    match error {
        ForgeError::Later {
            message,
            retry_after,
            ..
        } if may_try_again => {
            warn!("cannot post a status yet: {message}");
            let wait = backoff_at_least(work.attempts, ctx.clock.fraction(), *retry_after);
            Outcome::postpone(Vec::new(), now + wait, work.attempts + 1)
        }
        // A person may replace an expired token or grant a right: retry now and then, and show the error until
        // then.
        ForgeError::Refused(why) | ForgeError::Denied { message: why, .. } if may_try_again => {
            warn!("a status was not posted: {why}");
            let refused = refused(run, wanted, why.clone());
            Outcome::reschedule(vec![refused], now + REFUSED_POST_INTERVAL)
        }
        ForgeError::Later { .. }
        | ForgeError::Refused(_)
        | ForgeError::Denied { .. }
        | ForgeError::Gone(_) => {
            warn!("a status was not posted: {error}");
            Outcome::complete(vec![refused(run, wanted, error.to_string())])
        }
    }
}

/// Records why a status was not posted, if that is not an error.
fn not_posted(run: &Run, wanted: &StoredStatus, why: String) -> Outcome {
    let withheld = Posting::Withheld(why);
    Outcome::complete(vec![Write::Posted(run.id.clone(), wanted.seq, withheld)])
}

/// Records that the forge refused a status.
fn refused(run: &Run, wanted: &StoredStatus, why: String) -> Write {
    Write::Posted(run.id.clone(), wanted.seq, Posting::Refused(why))
}

/// The address of a run's page, if the public address is known.
fn page_of(config: &Config, run: &Run) -> Option<String> {
    let base = config.server.public_url.as_ref()?;
    Some(format!(
        "{}/runs/{}",
        base.as_str().trim_end_matches('/'),
        run.id
    ))
}
