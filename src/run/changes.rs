//! A run's changed paths, and the commits that changed them.

use std::collections::BTreeMap;

use crate::changes::{ChangeKind, FilePath, Proof};
use crate::event::CommitId;

/// A link of a run's commit chain, which goes from the oldest held commit to the run's own: two neighbouring
/// commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The earlier commit.
    pub from: CommitId,
    /// The later commit, in which the differing paths changed.
    pub to: CommitId,
    /// The proof that their difference is complete.
    pub proof: Proof,
    /// The number of paths that no newer link changed again.
    pub files: usize,
}

/// A run's changed paths, each with the newest link that changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunChanges {
    /// Newest first. Empty if it is not known which commit changed what.
    links: Vec<Link>,
    files: BTreeMap<FilePath, ChangeKind>,
    /// For each of `files`, the index of its link.
    brought_by: Vec<usize>,
}

impl RunChanges {
    /// Changes by link, newest first; each path with the index of its link.
    pub fn new(mut links: Vec<Link>, changed: BTreeMap<FilePath, (ChangeKind, usize)>) -> Self {
        for link in &mut links {
            link.files = 0;
        }
        for (_, by) in changed.values() {
            if let Some(link) = links.get_mut(*by) {
                link.files += 1;
            }
        }
        let brought_by = changed.values().map(|(_, by)| *by).collect();
        let files = changed.into_iter();
        Self {
            links,
            files: files.map(|(path, (kind, _))| (path, kind)).collect(),
            brought_by,
        }
    }

    /// The links, newest first.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Every path that changed.
    pub fn files(&self) -> &BTreeMap<FilePath, ChangeKind> {
        &self.files
    }

    /// Every path that changed: those of the newest link first, then by name.
    pub fn by_link(&self) -> Vec<(&FilePath, ChangeKind)> {
        let files = self.files.iter().zip(&self.brought_by);
        let mut files: Vec<_> = files.map(|((path, kind), by)| (*by, path, *kind)).collect();
        files.sort_by_key(|(by, ..)| *by);
        files
            .into_iter()
            .map(|(_, path, kind)| (path, kind))
            .collect()
    }
}

/// Changes without links.
impl From<BTreeMap<FilePath, ChangeKind>> for RunChanges {
    fn from(files: BTreeMap<FilePath, ChangeKind>) -> Self {
        Self {
            links: Vec::new(),
            brought_by: vec![0; files.len()],
            files,
        }
    }
}

/// How many of a run's changes come from its own commit, and how many from earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Paths that the last link changed.
    pub own: usize,
    /// Paths that earlier links changed.
    pub earlier: usize,
    /// The number of commits that changed those.
    pub commits: usize,
}

impl Shares {
    /// The shares of links, newest first; none without links.
    pub fn of(links: &[Link]) -> Option<Self> {
        let (last, others) = links.split_first()?;
        Some(Self {
            own: last.files,
            earlier: others.iter().map(|link| link.files).sum(),
            commits: others.iter().filter(|link| link.files > 0).count(),
        })
    }
}
