//! Lets only one run of a site at a time ask the forge for changes: others would make its plan outdated.

use std::time::Duration;

use super::context::StepContext;
use super::outcome::StepError;
use crate::run::Run;

/// How soon a run checks again whether another run of its site has finished; at most twice that.
const PLANNER_POLL: Duration = Duration::from_secs(2);

/// Makes a run its site's planner for as long as its step takes, or makes it wait for another.
pub(super) async fn acquire(ctx: &StepContext, run: &Run) -> Result<(), StepError> {
    let acquired = ctx.store.begin_planning(&run.site, &run.id, ctx.now());
    match acquired.await? {
        true => Ok(()),
        false => Err(is_taken(ctx)),
    }
}

/// Another run of the site is the planner: this one tries again soon.
pub(super) fn is_taken(ctx: &StepContext) -> StepError {
    StepError::NotYet(PLANNER_POLL.mul_f64(1.0 + ctx.clock.fraction()))
}
