//! Disables core dumps, which would contain every secret of the rules file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Prevents the system from writing the process's memory to a file when it crashes. The limit is for dumps that the
/// kernel writes itself. A program that receives them (`kernel.core_pattern` with a `|`) gets them whatever the
/// limit, unless the process is not dumpable, which also keeps other processes of the same user from reading its
/// memory (`core(5)`, `PR_SET_DUMPABLE(2const)`).
pub fn forbid() {
    let none = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Core).maximum,
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!("core dumps cannot be limited: {error}");
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            warn!("core dumps cannot be forbidden: {error}");
        }
    }
}
