//! What keeps requests to forges and CDNs in their bounds: circuit breaker, rate limit, daily quota.

pub mod breaker;
pub mod quota;
pub mod rate;
