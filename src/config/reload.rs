//! The state of the rules file on disk compared with the rules in use, for the code that shows it.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::PathBuf;

use jiff::Timestamp;

use super::Config;
use crate::settings::{Problem, Problems, Severity};

/// Bytes of a file that are checked for changes. Rules files and secrets are far smaller.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// The history of the rules file since the start.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    /// When the rules in use were read. None if they are never reloaded.
    pub in_force_since: Option<Timestamp>,
    /// Why the file on disk is not in use; none if it is.
    pub refused: Option<Refused>,
    /// Sentences about changes that take effect only after a restart.
    pub after_restart: Vec<&'static str>,
    /// How often a file was accepted.
    pub taken_up: u64,
    /// How often a file was rejected.
    pub refusals: u64,
}

/// A rejected rules file.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Since when it has been on disk.
    pub since: Timestamp,
    /// Its problems.
    pub problems: Vec<Problem>,
}

impl Reloads {
    /// The rules were read at the start.
    pub fn begin(now: Timestamp) -> Self {
        Self {
            in_force_since: Some(now),
            ..Self::default()
        }
    }

    /// Records that a file was accepted, with the settings that the process started with.
    pub fn take_up(&mut self, now: Timestamp, started: &Started, config: &Config) {
        self.in_force_since = Some(now);
        self.refused = None;
        self.after_restart = started.differs_from(config);
        self.taken_up += 1;
    }

    /// Records that a file was rejected; the previous rules stay in use.
    pub fn refuse(&mut self, now: Timestamp, problems: &Problems) {
        let since = self.refused.as_ref().map_or(now, |refused| refused.since);
        let errors = problems.list.iter();
        self.refused = Some(Refused {
            since,
            problems: errors
                .filter(|problem| problem.severity == Severity::Error)
                .cloned()
                .collect(),
        });
        self.refusals += 1;
    }
}

/// The settings that cannot change while a process runs.
#[derive(Clone)]
pub struct Started {
    listen: String,
    database: String,
}

impl Started {
    /// Those settings of a configuration.
    pub fn with(config: &Config) -> Self {
        Self {
            listen: config.server.listen.clone(),
            database: config.server.database.clone(),
        }
    }

    /// Sentences about the differences from another configuration.
    fn differs_from(&self, config: &Config) -> Vec<&'static str> {
        let mut differences = Vec::new();
        if self.listen != config.server.listen {
            differences.push("`server.listen` has changed: it takes a restart");
        }
        if self.database != config.server.database {
            differences.push("`server.database` has changed: it takes a restart");
        }
        differences
    }
}

/// A fingerprint of the files' content. A file that is not regular counts as empty: a pipe can be read only once.
pub fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in files {
        path.hash(&mut hasher);
        let is_file = std::fs::metadata(path).is_ok_and(|data| data.is_file());
        let content = is_file.then(|| {
            let mut content = Vec::new();
            let read = File::open(path)
                .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut content))
                .map_err(|error| error.kind());
            (read, content)
        });
        content.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_comes_or_goes_has_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("a"), folder.path().join("b")];
        let mut seen = vec![fingerprint(&files)];
        let mut look = |what: &str| {
            let now = fingerprint(&files);
            assert_eq!(now, fingerprint(&files));
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };

        std::fs::write(&files[0], "one").unwrap();
        look("a file came");
        std::fs::write(&files[0], "two").unwrap();
        look("as long as before");
        std::fs::write(&files[1], "").unwrap();
        look("an empty file came");
        std::fs::remove_file(&files[0]).unwrap();
        look("a file went");
    }
}
