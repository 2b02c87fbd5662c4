//! One run of a site at a time asks the forge what changed: others would make its plan outdated.

use std::time::Duration;

use super::context::StepContext;
use super::outcome::StepError;
use crate::run::Run;

/// How soon a run looks again whether another of its site has found out what changed, and up to twice that.
const PLANNER_POLL: Duration = Duration::from_secs(2);

/// Makes a run the planner of its site for as long as its step takes, or has it wait for another.
pub(super) async fn acquire(ctx: &StepContext, run: &Run) -> Result<(), StepError> {
    let acquired = ctx.store.begin_planning(&run.site, &run.id, ctx.now());
    match acquired.await? {
        true => Ok(()),
        false => Err(is_taken(ctx)),
    }
}

/// Another run of the site is the planner: this one looks again soon.
pub(super) fn is_taken(ctx: &StepContext) -> StepError {
    StepError::NotYet(PLANNER_POLL.mul_f64(1.0 + ctx.clock.fraction()))
}
