//! Telling the forge how a run stands: the newest wish only, until it took it.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, warn};

use crate::engine::policy::backoff;
use crate::engine::{Engine, Outcome, StepError};
use crate::event::GitRef;
use crate::forge::{ForgeError, StatusPost};
use crate::run::{Run, RunId, StatusState};
use crate::store::{Disposition, StoredStatus, Upstream, Work, Write};

/// How long a status is offered to a forge that can't be reached.
const OFFER_LIMIT: Duration = Duration::from_secs(48 * 60 * 60);
/// Why a status of a dry run is not posted.
const NOT_POSTED: &str = "not posted: the site is only observed";
/// How often a status is offered again to a forge that refused it.
const OFFER_AGAIN: Duration = Duration::from_secs(10 * 60);

impl Engine {
    pub(in crate::engine) async fn report(
        &self,
        id: &RunId,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let now = self.clock.now();
        let Some(run) = self.store.run(id).await? else {
            return Ok(Outcome::done(Vec::new()));
        };
        // The newest wins: what was wanted in between and never posted is history.
        let mut statuses = self.store.statuses(id).await?;
        let Some(wanted) = statuses.pop() else {
            return Ok(Outcome::done(Vec::new()));
        };
        if wanted.posted_at.is_some() {
            return Ok(Outcome::done(Vec::new()));
        }

        let posted =
            |at, error| Outcome::done(vec![Write::Posted(id.clone(), wanted.seq, at, error)]);
        let Some(commit) = run.commit.id() else {
            // A branch, a tag or a short id still: the run's first step finds the commit.
            return Ok(if run.state.is_final() {
                posted(None, Some("there is no commit to show it on".to_owned()))
            } else {
                Outcome::done(Vec::new())
            });
        };
        let config = self.config();
        let site = config.sites.get(&run.site);
        let observed = run.observed || site.is_some_and(|site| site.reach.is_observed());
        // One that was shown while the site was live is brought to an end, and nothing else is shown.
        let was_shown = statuses.iter().any(|status| status.posted_at.is_some());
        if observed && !(was_shown && run.state.is_final()) {
            return Ok(posted(None, Some(NOT_POSTED.to_owned())));
        }
        let on_commit = self.store.statuses_on(&run.site, commit).await?;
        if is_outdated(id, &wanted, &on_commit) {
            let why = "a newer run speaks for the commit by now";
            return Ok(posted(None, Some(why.to_owned())));
        }
        if let Some(since) = shown_since(id, &wanted, &on_commit) {
            return Ok(posted(Some(since), None));
        }
        let Some(forge) = config.forges.get(&run.forge) else {
            return Ok(posted(
                None,
                Some(format!("the forge {} is no longer configured", run.forge)),
            ));
        };
        let status = StatusPost {
            state: match wanted.state {
                // What would have been is no success.
                StatusState::Success if run.observed => StatusState::Error,
                state => state,
            },
            context: site.map_or_else(
                || format!("purgehook/{}", run.site),
                |site| site.status_context.clone(),
            ),
            description: wanted.description.clone(),
            target_url: self.page_of(&run),
            ref_name: run.git_ref.as_ref().map_or("", GitRef::name).to_owned(),
        };
        let upstream = Upstream::Forge(run.forge.clone());
        let answer = match self.left_alone(&upstream).await? {
            Some(left) => Err(left.by_forge(&run.forge, Some(left.wait))),
            None => {
                let post = forge.post_status(&run.repo, commit, &status);
                self.heard(&upstream, post).await
            }
        };
        match answer {
            Ok(()) => {
                debug!(run = %id, state = wanted.state.as_str(), "posted a status on {}", commit.short());
                let mut outcome = posted(Some(self.clock.now()), None);
                // While it was on its way another run may have told the commit something newer,
                // and the forge may have taken that first.
                let on_commit = self.store.statuses_on(&run.site, commit).await?;
                if let Some((newer, status)) = newest_besides(id, &wanted, &on_commit) {
                    let again =
                        Write::Status(newer.clone(), status.state, status.description.clone());
                    outcome.writes.push(again);
                }
                Ok(outcome)
            }
            Err(ForgeError::Later {
                message,
                retry_after,
            }) if now < wanted.wanted_at + OFFER_LIMIT => {
                warn!(run = %id, "cannot post a status yet: {message}");
                let wait =
                    backoff::backoff_at_least(work.attempts, self.clock.fraction(), retry_after);
                Ok(Outcome::again(Vec::new(), now + wait, work.attempts + 1))
            }
            // A token that ended or lacks a right may be mended: offered now and then, and shown meanwhile.
            Err(error @ ForgeError::Refused(_)) if now < wanted.wanted_at + OFFER_LIMIT => {
                warn!(run = %id, "a status was not posted: {error}");
                let mut outcome = posted(None, Some(error.to_string()));
                outcome.after = Disposition::Reschedule {
                    at: now + OFFER_AGAIN,
                    attempts: 0,
                };
                Ok(outcome)
            }
            Err(error) => {
                warn!(run = %id, "a status was not posted: {error}");
                Ok(posted(None, Some(error.to_string())))
            }
        }
    }

    /// The address of a run's page, where the public address is known.
    fn page_of(&self, run: &Run) -> Option<String> {
        let config = self.config();
        let base = config.server.public_url.as_ref()?;
        Some(format!(
            "{}/runs/{}",
            base.as_str().trim_end_matches('/'),
            run.id
        ))
    }
}

/// Whether another run of the same site wanted the commit to show something after this
/// was wanted, and the forge did not refuse that.
fn is_outdated(run: &RunId, wanted: &StoredStatus, on_commit: &[(RunId, StoredStatus)]) -> bool {
    newest_besides(run, wanted, on_commit).is_some()
}

/// What another run of the same site wanted the commit to show last, after this was wanted (of two
/// in one millisecond the newer run's counts), unless the forge refused that.
fn newest_besides<'s>(
    run: &RunId,
    wanted: &StoredStatus,
    on_commit: &'s [(RunId, StoredStatus)],
) -> Option<&'s (RunId, StoredStatus)> {
    let newer = on_commit.iter().filter(|(other, status)| {
        other != run
            && (status.wanted_at, other) > (wanted.wanted_at, run)
            && status.error.is_none()
    });
    newer.max_by_key(|(other, status)| (status.wanted_at, other, status.seq))
}

/// Since when the commit has shown exactly what is wanted, if it does.
fn shown_since(
    run: &RunId,
    wanted: &StoredStatus,
    on_commit: &[(RunId, StoredStatus)],
) -> Option<Timestamp> {
    let posted = on_commit
        .iter()
        .filter_map(|(run, status)| Some((status.posted_at?, run, status)));
    // Of two in one millisecond, the one that was wanted later was posted later.
    let (since, by, shown) = posted.max_by_key(|(posted_at, _, _)| *posted_at)?;
    let is_same =
        by == run && (shown.state, &shown.description) == (wanted.state, &wanted.description);
    is_same.then_some(since)
}
