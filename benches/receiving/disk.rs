//! The disk that the receivers keep things on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::surroundings::Surroundings;

/// Where the databases are; otherwise where temporary files are.
const FOLDER: &str = "RECEIVING_DISK";
/// How many microseconds each fsync takes longer than it does there.
const FSYNC_US: &str = "RECEIVING_FSYNC_US";

/// A folder for one round of one receiver.
pub fn folder() -> TempDir {
    let made = match std::env::var_os(FOLDER) {
        Some(disk) => tempfile::tempdir_in(disk),
        None => tempfile::tempdir(),
    };
    made.unwrap()
}

/// How slow it is.
pub struct Disk(Option<Surroundings>);

impl Disk {
    /// As it is, or as the environment says.
    pub fn as_it_is(folder: &Path) -> Self {
        Self::of(folder, Duration::ZERO)
    }

    /// One whose fsync takes so much longer.
    pub fn of(folder: &Path, slower: Duration) -> Self {
        let slower = slower + Duration::from_micros(crate::support::number(FSYNC_US, 0));
        Self((!slower.is_zero()).then(|| {
            let surroundings = Surroundings::new(folder);
            surroundings.slow_disk(slower);
            surroundings
        }))
    }

    /// Nobody's: a database server has it.
    pub fn none() -> Self {
        Self(None)
    }

    /// Lets a program have it.
    pub fn put_under<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        match &self.0 {
            Some(surroundings) => surroundings.put_before(command),
            None => command,
        }
    }
}
