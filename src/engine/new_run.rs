//! Creates runs.

use super::policy::deadlines::RUN_LIMIT;
use crate::clock::Clock;
use crate::config::Site;
use crate::event::{CommitRef, GitRef};
use crate::run::{Arrival, Origin, Run, RunId, RunState, RunStep};

/// A run that starts now.
pub(super) fn new_run(
    clock: &Clock,
    site: &Site,
    origin: Origin,
    git_ref: Option<GitRef>,
    commit: CommitRef,
) -> Run {
    let now = clock.now();
    Run {
        id: RunId(clock.new_id()),
        site: site.name.clone(),
        forge: site.forge.clone(),
        repo: site.repo.clone(),
        git_ref,
        before: None,
        commit,
        delivery: None,
        origin,
        covered_by: None,
        bases: Vec::new(),
        held_version: None,
        state: RunState::Pending,
        step: RunStep::Changes,
        summary: "Finding out what changed".to_owned(),
        proof: None,
        problems: Vec::new(),
        notes: Vec::new(),
        arrival: Arrival::InOrder,
        dry_run: site.mode.is_dry_run(),
        waits_for: None,
        revision: 0,
        created_at: now,
        deadline: now + RUN_LIMIT,
        ended_at: None,
    }
}
