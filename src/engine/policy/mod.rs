//! Decisions as pure functions of values and `now`, without a clock, a network or a store.

pub mod backoff;
pub mod batches;
pub mod commit_chain;
pub mod conclusion;
pub mod deadlines;
pub mod forge_retries;
pub mod giving_up;
pub mod match_sites;
pub mod migration;
pub mod prefetch;
pub mod quota;
pub mod quota_shares;
pub mod statuses;
pub mod submit_errors;
pub mod summary;
pub mod task_reports;
