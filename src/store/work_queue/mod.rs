//! The work queue: what to do next, and when.
//!
//! A work item is claimed under a lease, its step runs, and one commit writes the outcome (`step_commit.rs`) and
//! the item's disposition. The commit changes nothing if the lease was lost. If work is enqueued while it is
//! running, the row counts the request, and the work runs once more.

mod claims;
mod dispositions;
mod enqueueing;
mod fair_selection;
mod key;
mod leases;
mod planning_runs;
mod rows;

pub use claims::{Claimed, Work};
pub use dispositions::Disposition;
pub use fair_selection::ClaimLimits;
pub use key::WorkKey;
pub use leases::Lease;

pub(super) use dispositions::apply_disposition;
pub(super) use enqueueing::{INSERT, enqueue, enqueue_statuses, enqueue_submits, new_rows};
pub(super) use rows::{lock, remove_free_runs, step_changed};
