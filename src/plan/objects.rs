//! Counts the objects in each directory: the URLs that the site's files map to.
//!
//! A cover compares a directory's price with the unchanged objects that it would delete, so it needs these counts.
//! If the files cannot be listed, it estimates.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Plan;
use super::cover::directories_above;
use crate::changes::{ChangeKind, FilePath};
use crate::purge::PurgeKind;
use crate::rules::Rules;

/// The numbers of objects in directories, as far as known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// Not counted, since no number could change the plan.
    Unasked,
    /// They are estimated.
    Estimated {
        /// Why they could not be counted, for a note.
        why: String,
    },
    /// They were counted.
    Counted {
        /// The number of files.
        files: usize,
        /// Objects in and below each directory above the plan's purges, by the directory's URL.
        by_directory: BTreeMap<String, u64>,
    },
}

impl Objects {
    /// Counts the objects in the directories above a plan's purges, before it is covered. `files` are all files of
    /// the new commit.
    ///
    /// An object is a URL that some file maps to, whatever its change; equal URLs count once. The plan's own
    /// targets count too: a removed file's URL is still in caches. URLs that do not come from a path are unknown
    /// here.
    pub fn count<'f>(
        rules: &Rules,
        files: impl IntoIterator<Item = &'f FilePath>,
        plan: &Plan,
    ) -> Self {
        let mut by_directory = BTreeMap::new();
        for purge in &plan.purges {
            for above in directories_above(&purge.target) {
                if !by_directory.contains_key(above) {
                    by_directory.insert(above.to_owned(), 0);
                }
            }
        }
        // A hash stands for each URL: a site may have a million, and a collision would only miscount by one.
        let mut seen = HashSet::new();
        let mut count = |url: &str| {
            let mut hasher = DefaultHasher::new();
            url.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                return;
            }
            for above in directories_above(url) {
                match by_directory.get_mut(above) {
                    Some(objects) => *objects += 1,
                    // Nothing below it is wanted, so directories below it do not matter.
                    None => break,
                }
            }
        };
        for purge in plan.purges.iter().filter(|p| p.kind == PurgeKind::Url) {
            count(&purge.target);
        }
        let mut listed = 0;
        for path in files {
            listed += 1;
            for target in rules.targets(path, ChangeKind::AddedAndModified).targets {
                if target.kind == PurgeKind::Url {
                    count(&target.url);
                }
            }
        }
        Self::Counted {
            files: listed,
            by_directory,
        }
    }

    /// A note for people.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Unasked => None,
            Self::Estimated { why } => Some(format!(
                "how much each directory holds is estimated, not counted: {why}"
            )),
            Self::Counted {
                files,
                by_directory: _,
            } => Some(format!(
                "how much each directory holds is counted, over {files} files"
            )),
        }
    }

    /// The numbers, as far as known.
    pub(super) fn by_directory(self) -> BTreeMap<String, u64> {
        match self {
            Self::Unasked | Self::Estimated { .. } => BTreeMap::new(),
            Self::Counted {
                files: _,
                by_directory,
            } => by_directory,
        }
    }
}
