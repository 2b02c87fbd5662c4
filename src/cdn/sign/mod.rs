//! The signatures of requests to the CDNs' APIs.
//!
//! Everything here is a pure function of its inputs, without clock, nonce or network. The vendors' own test values
//! are in `tests/data`.

pub mod huawei;
pub mod tc3;
pub mod v1;
