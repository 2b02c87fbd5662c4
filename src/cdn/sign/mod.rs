//! How requests to the CDNs' APIs are signed.
//!
//! Everything here is a pure function of its inputs: no clock, no nonce, no
//! network. The vendors' own values are in `tests/data`.

pub mod huawei;
pub mod tc3;
pub mod v1;
