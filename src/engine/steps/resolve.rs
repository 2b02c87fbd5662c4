//! Resolves the name that an event gave for its commit (a tag, a branch, the first digits of an id).

use super::Step;
use crate::config::Config;
use crate::engine::context::StepContext;
use crate::engine::denied_access;
use crate::engine::ending::end;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::forge_retries::{ask_again, may_ask_again};
use crate::engine::policy::statuses::show;
use crate::engine::upstream::RequestError;
use crate::event::{CommitId, CommitRef, GitRef};
use crate::forge::ForgeError;
use crate::run::{Run, RunState, StatusState};
use crate::store::{Work, Write};

/// The first step of a run whose commit has no full id yet.
pub struct Resolve<'a> {
    pub config: &'a Config,
    pub run: Run,
    /// The commit's name in the event.
    pub name: String,
}

impl Step for Resolve<'_> {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let Self {
            config,
            mut run,
            name,
        } = self;
        let resolved = resolve(ctx, config, &run, &name).await;
        let now = ctx.now();
        let error = match resolved {
            Ok(commit) => {
                run.commit = CommitRef::Id(commit);
                let shown = show(&run, StatusState::Pending);
                return Ok(Outcome::reschedule(vec![Write::Run(run), shown], now));
            }
            Err(error) => error.into_forge_error(&run.forge)?,
        };
        match error {
            ForgeError::Later {
                message,
                retry_after,
                ..
            } if may_ask_again(&run, work, retry_after, now) => {
                run.summary = format!("Finding the commit; trying again: {message}");
                let fraction = ctx.clock.fraction();
                Ok(ask_again(run, work, &message, retry_after, now, fraction))
            }
            // What it brings may be live: it is not forgotten for that.
            ForgeError::Denied { message, .. } => {
                Ok(denied_access::wait(ctx, run, &message, now).await?)
            }
            error @ (ForgeError::Later { .. } | ForgeError::Gone(_) | ForgeError::Refused(_)) => {
                let summary = format!("Cannot find the commit {name}: {error}");
                Ok(end(ctx, run, RunState::Errored, summary, now).await?)
            }
        }
    }
}

/// Asks the forge for the commit.
async fn resolve(
    ctx: &StepContext,
    config: &Config,
    run: &Run,
    name: &str,
) -> Result<CommitId, RequestError<ForgeError>> {
    let Some(forge) = ctx.upstreams.forge(config, &run.forge) else {
        let why = format!("the forge {} is no longer configured", run.forge);
        return Err(RequestError::Failed(ForgeError::Refused(why)));
    };
    match &run.git_ref {
        Some(GitRef::Branch(branch)) if branch == name => {
            forge.branch_head(&run.repo, branch).await
        }
        Some(GitRef::Branch(_) | GitRef::Tag(_) | GitRef::Other(_)) | None => {
            forge.resolve(&run.repo, name).await
        }
    }
}
