//! Runs and their change sets.

mod changes;
mod covers;
mod listing;
mod row;
mod rows;

pub use listing::{RunFilter, UnplannedRun};

pub(super) use changes::put_changes;
pub(super) use covers::{conclude_superseded, cover, supersede, that_covers};
pub(super) use row::wait_reason_text;
pub(super) use rows::{find, insert, of_delivery, readable, update, wait};
