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

/// What is known of the objects in directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// Nobody asked, since no number of them would change the plan.
    Unasked,
    /// They are estimated.
    Estimated {
        /// Why they could not be counted, in words for a note.
        why: String,
    },
    /// They were counted.
    Counted {
        /// Over how many files.
        files: usize,
        /// By the directory's URL, itself and below: each directory above what the plan wants.
        by_directory: BTreeMap<String, u64>,
    },
}

impl Objects {
    /// Counts the objects in the directories above what a plan wants, which has not been covered yet. `files` are all
    /// of the commit that is served next.
    ///
    /// An object is a URL that some file maps to, whatever its change: twice the same is one. What the plan wants
    /// counts as well: a removed file's URL is still in the caches. URLs that no rule makes of a path are not known here.
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
        // A hash stands for each URL: a site may have a million, and two of one hash would only count as one.
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
                    // Nothing is wanted below it, so no directory below it is of interest.
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

    /// What a person should know of it.
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

    /// The numbers, as far as they are known.
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
