//! The limit on files and connections that the process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Connections at most: idle ones need some kilobytes each.
const MOST_CONNECTIONS: usize = 16_384;
/// Descriptors reserved for the database, spool files, and requests to forges and CDNs.
const RESERVED: usize = 256;

/// Raises the soft limit on open files to the hard one. The usual soft limit of 1,024 exists for programs that
/// still use `select`; idle connections would use it up, and the database could no longer open its files.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        warn!(
            "the limit on open files stays at {:?}: {error}",
            limit.current
        );
    }
}

/// How many connections are possible besides everything else that is open.
pub(super) fn room_for_connections() -> usize {
    let files = getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        });
    // With a very low limit, use half of it: a server must accept some connections.
    files
        .saturating_sub(RESERVED)
        .max(files / 2)
        .clamp(1, MOST_CONNECTIONS)
}
