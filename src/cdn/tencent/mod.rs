//! Tencent Cloud's API 3.0 for CDN and ECDN: the client, the task logs, the two products.

pub mod cdn;
mod client;
pub mod ecdn;
mod log;
mod quota;

#[cfg(test)]
mod tests;

use crate::cdn::Batch;
use crate::cdn::credentials::{Named, Names};
use crate::purge::Mode;

/// Tencent Cloud's names for its credentials, in API 3.0 and in API 2.0.
pub const NAMES: Names = Names {
    id: Named {
        key: "secret_id",
        variable: "TENCENTCLOUD_SECRET_ID",
    },
    key: Named {
        key: "secret_key",
        variable: "TENCENTCLOUD_SECRET_KEY",
    },
    token: Named {
        key: "token",
        variable: "TENCENTCLOUD_TOKEN",
    },
};

/// `FlushType` of a directory purge. It is required and has no default; without a rule's mode, the milder one is
/// used.
fn flush_type(batch: &Batch) -> &'static str {
    batch.mode.unwrap_or(Mode::Flush).as_str()
}
