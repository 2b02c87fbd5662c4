//! What a run found changed, and which commits brought it.

use std::collections::BTreeMap;

use crate::changes::{ChangeKind, FilePath, Proof};
use crate::event::CommitId;

/// Two neighbours in the chain of commits from the oldest that caches may hold to the run's own, which ends the last link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The commit that was live before.
    pub from: CommitId,
    /// The commit that came after it, and brought what they differ in.
    pub to: CommitId,
    /// Who said what they differ in.
    pub proof: Proof,
    /// Paths that no newer link brought again.
    pub files: usize,
}

/// What a run found changed: each path once, with the newest link that brought it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunChanges {
    /// Newest first. None where it is not known which commit brought what.
    links: Vec<Link>,
    files: BTreeMap<FilePath, ChangeKind>,
    /// For each of `files`, which of the links brought it.
    brought_by: Vec<usize>,
}

impl RunChanges {
    /// Changes by their links, newest first; each path with the index of the one that brought it.
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

    /// Every path that changed, those of the newest link first, and by name within one.
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

/// Changes of which it is not known what brought them.
impl From<BTreeMap<FilePath, ChangeKind>> for RunChanges {
    fn from(files: BTreeMap<FilePath, ChangeKind>) -> Self {
        Self {
            links: Vec::new(),
            brought_by: vec![0; files.len()],
            files,
        }
    }
}

/// How much of a run's changes the run's own commit brought, and how much others did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Paths that the last link brought.
    pub own: usize,
    /// Paths that links before it brought.
    pub earlier: usize,
    /// How many commits brought those.
    pub commits: usize,
}

impl Shares {
    /// The shares of links that come newest first; none where there is none.
    pub fn of(links: &[Link]) -> Option<Self> {
        let (last, others) = links.split_first()?;
        Some(Self {
            own: last.files,
            earlier: others.iter().map(|link| link.files).sum(),
            commits: others.iter().filter(|link| link.files > 0).count(),
        })
    }
}
