//! A commit's three lists in a push: the files that it added, removed and modified.

use super::diff::Difference;
use super::repo::{Commit, Repo};
use super::tree::text;

/// The lists in which a forge puts a moved file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renames {
    /// The old path is in the removed list, the new one in the added list.
    BothSides,
    /// The new path is in the added list; the old one is in no list (GitLab).
    NewOnly,
}

/// A commit's lists.
#[derive(Default)]
pub(super) struct Lists {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub modified: Vec<String>,
}

impl Lists {
    /// The lists of a commit compared with its first parent, with at most `most` files.
    pub fn of(repo: &Repo, commit: &Commit, renames: Renames, most: usize) -> Self {
        let mut lists = Self::default();
        for file in repo.own_changes(commit).into_iter().take(most) {
            let path = text(&file.path);
            match (file.difference, renames) {
                (Difference::Added, _) | (Difference::Renamed, Renames::NewOnly) => {
                    lists.added.push(path);
                }
                (Difference::Removed, _) => lists.removed.push(path),
                (Difference::Modified | Difference::Changed, _) => lists.modified.push(path),
                (Difference::Renamed, Renames::BothSides) => {
                    lists.removed.extend(file.previous.as_deref().map(text));
                    lists.added.push(path);
                }
            }
        }
        lists
    }
}
