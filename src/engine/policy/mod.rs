//! Decisions as pure functions: of values and `now`, without a clock, a network or a store.

pub mod backoff;
pub mod match_sites;
pub mod prefetch;
pub mod summary;
