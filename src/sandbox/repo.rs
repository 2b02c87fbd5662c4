//! A git repository in memory: commits, trees and refs with git's own object ids.
//!
//! It has two sides, as in reality: a working clone, whose branches [`Repo::commit`] moves, and the forge's refs,
//! which a push moves. The forge knows an object from its push until it is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::diff::{FileDiff, diff};
use super::tree::{Entry, FILE, Files, TreeEntry, object_id, write_tree};

/// The id for "none" in webhooks.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// A commit's change of one path. Paths are bytes, as in git.
#[derive(Clone, Debug)]
pub enum Change {
    /// Writes a file.
    Write(Vec<u8>, Vec<u8>),
    /// Removes a path.
    Remove(Vec<u8>),
    /// Moves a path.
    Rename(Vec<u8>, Vec<u8>),
    /// Sets a path's mode.
    Mode(Vec<u8>, u32),
}

impl Change {
    /// Writes a file.
    pub fn write(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self::Write(path.as_ref().to_vec(), content.as_ref().to_vec())
    }

    /// Removes a path.
    pub fn remove(path: impl AsRef<[u8]>) -> Self {
        Self::Remove(path.as_ref().to_vec())
    }

    /// Moves a path.
    pub fn rename(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        Self::Rename(from.as_ref().to_vec(), to.as_ref().to_vec())
    }

    /// Sets a path's mode, one of those in `tree.rs`.
    pub fn mode(path: impl AsRef<[u8]>, mode: u32) -> Self {
        Self::Mode(path.as_ref().to_vec(), mode)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub id: String,
    pub tree: String,
    pub files: Arc<Files>,
    pub parents: Vec<String>,
    pub message: String,
    pub at: Timestamp,
    /// The number of the commit in the repository; parents have smaller numbers.
    pub serial: usize,
    generation: usize,
}

/// A repository with its working clone.
#[derive(Default)]
pub(super) struct Repo {
    commits: BTreeMap<String, Commit>,
    trees: BTreeMap<String, Vec<TreeEntry>>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// The clone's refs by full name (`refs/heads/main`).
    local: BTreeMap<String, String>,
    /// The forge's refs by full name.
    refs: BTreeMap<String, String>,
    /// Annotated tags: from the tag object's id to the commit's.
    tag_objects: BTreeMap<String, String>,
    /// The commits that the forge has.
    known: BTreeSet<String>,
    serial: usize,
}

impl Repo {
    /// Adds a commit to a branch of the clone (creating the branch if necessary) and returns its id.
    pub fn commit(&mut self, branch: &str, changes: &[Change], at: Timestamp) -> String {
        let name = format!("refs/heads/{branch}");
        let parents: Vec<String> = self.local.get(&name).cloned().into_iter().collect();
        let mut files = parents
            .first()
            .and_then(|id| self.commits.get(id))
            .map(|commit| Files::clone(&commit.files))
            .unwrap_or_default();
        self.apply(&mut files, changes);
        let id = self.add(files, parents, at);
        self.local.insert(name, id.clone());
        id
    }

    /// Merges a branch of the clone into another one: a commit with two parents, whose tree takes everything that
    /// changed on the merged side since the merge base. `changes` are added to it ("evil merge").
    pub fn merge(
        &mut self,
        into: &str,
        from: &str,
        changes: &[Change],
        at: Timestamp,
    ) -> Option<String> {
        let name = format!("refs/heads/{into}");
        let ours = self.local.get(&name)?.clone();
        let theirs = self.local.get(&format!("refs/heads/{from}"))?.clone();
        let base = self
            .merge_base(&ours, &theirs)
            .and_then(|id| self.commits.get(&id))
            .map(|commit| Arc::clone(&commit.files))
            .unwrap_or_default();
        let mut files = Files::clone(&self.commits.get(&ours)?.files);
        for (path, entry) in self.commits.get(&theirs)?.files.iter() {
            if base.get(path) != Some(entry) {
                files.insert(path.clone(), entry.clone());
            }
        }
        let theirs_files = Arc::clone(&self.commits.get(&theirs)?.files);
        files.retain(|path, _| theirs_files.contains_key(path) || !base.contains_key(path));
        self.apply(&mut files, changes);
        let id = self.add(files, vec![ours, theirs], at);
        self.local.insert(name, id.clone());
        Some(id)
    }

    /// Moves a branch of the clone to any commit.
    pub fn reset(&mut self, branch: &str, commit: &str) {
        self.local
            .insert(format!("refs/heads/{branch}"), commit.to_owned());
    }

    /// Points a tag of the clone at a commit; an annotated tag gets its own object.
    pub fn tag(&mut self, name: &str, commit: &str, annotated: bool) {
        let id = if annotated {
            let text = format!("object {commit}\ntype commit\ntag {name}\n");
            let id = object_id("tag", text.as_bytes());
            self.tag_objects.insert(id.clone(), commit.to_owned());
            id
        } else {
            commit.to_owned()
        };
        self.local.insert(format!("refs/tags/{name}"), id);
    }

    /// Moves the forge's ref to the clone's, or deletes it if the clone has none. Returns (before, after); [`ZERO`]
    /// means none.
    pub fn push(&mut self, name: &str) -> (String, String) {
        let after = self.local.get(name).cloned();
        let before = match &after {
            Some(id) => self.refs.insert(name.to_owned(), id.clone()),
            None => self.refs.remove(name),
        };
        if let Some(id) = &after {
            let reached = self.reachable([self.peel(id).to_owned()]);
            self.known.extend(reached);
        }
        let or_zero = |id: Option<String>| id.unwrap_or_else(|| ZERO.to_owned());
        (or_zero(before), or_zero(after))
    }

    /// Deletes a ref of the clone, so that a push deletes the forge's.
    pub fn delete(&mut self, name: &str) {
        self.local.remove(name);
    }

    /// Makes the forge lose a commit, as after garbage collection.
    pub fn forget(&mut self, commit: &str) {
        self.known.remove(commit);
    }

    /// A commit that the forge has.
    pub fn known(&self, id: &str) -> Option<&Commit> {
        self.known.get(id).and_then(|id| self.commits.get(id))
    }

    /// The forge's refs by full name.
    pub fn refs(&self) -> &BTreeMap<String, String> {
        &self.refs
    }

    /// The commit of an id, which may be that of an annotated tag.
    pub fn peel<'a>(&'a self, id: &'a str) -> &'a str {
        self.tag_objects.get(id).map_or(id, String::as_str)
    }

    /// Resolves a person's name for a commit: a full id, a branch, a tag, a full ref name.
    pub fn resolve(&self, text: &str) -> Option<&Commit> {
        let by_ref = [
            text.to_owned(),
            format!("refs/{text}"),
            format!("refs/tags/{text}"),
            format!("refs/heads/{text}"),
        ]
        .into_iter()
        .find_map(|name| self.refs.get(&name));
        let id = by_ref.map_or(text, String::as_str);
        self.known(self.peel(id))
    }

    /// The only commit whose id starts with at least seven given digits.
    pub fn abbreviated(&self, start: &str) -> Option<&Commit> {
        let mut found = self.known.iter().filter(|id| id.starts_with(start));
        match (found.next(), found.next()) {
            (Some(id), None) if start.len() >= 7 => self.commits.get(id),
            _ => None,
        }
    }

    /// A tree object. The trees of all commits ever made exist.
    pub fn tree(&self, id: &str) -> Option<&[TreeEntry]> {
        self.trees.get(id).map(Vec::as_slice)
    }

    /// The commits reachable from `tip` and from none of `without`, oldest first.
    pub fn commits_between(&self, tip: &str, without: &[String]) -> Vec<&Commit> {
        let hidden = self.reachable(without.iter().cloned());
        let mut found: Vec<&Commit> = self
            .reachable([tip.to_owned()])
            .iter()
            .filter(|id| !hidden.contains(*id))
            .filter_map(|id| self.commits.get(id))
            .collect();
        found.sort_by_key(|commit| commit.serial);
        found
    }

    /// Whether `ancestor` is `tip` or reachable from it.
    pub fn contains(&self, tip: &str, ancestor: &str) -> bool {
        self.reachable([tip.to_owned()]).contains(ancestor)
    }

    /// The best common ancestor of two commits.
    pub fn merge_base(&self, one: &str, other: &str) -> Option<String> {
        let ones = self.reachable([one.to_owned()]);
        self.reachable([other.to_owned()])
            .into_iter()
            .filter(|id| ones.contains(id))
            .filter_map(|id| self.commits.get(&id))
            .max_by_key(|commit| (commit.generation, commit.serial))
            .map(|commit| commit.id.clone())
    }

    /// What a commit changed compared with its first parent. For a merge, nothing: no forge documents what its
    /// lists contain, and this is the least that they may contain.
    pub fn own_changes(&self, commit: &Commit) -> Vec<FileDiff> {
        match commit.parents.as_slice() {
            [] => diff(&Files::new(), &commit.files),
            [parent] => match self.commits.get(parent) {
                Some(parent) => diff(&parent.files, &commit.files),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn apply(&mut self, files: &mut Files, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Write(path, content) => {
                    let id = object_id("blob", content);
                    let mode = files.get(path).map_or(FILE, |entry| entry.mode);
                    let size = content.len();
                    self.blobs.insert(id.clone(), content.clone());
                    files.insert(path.clone(), Entry { mode, id, size });
                }
                Change::Remove(path) => {
                    files.remove(path);
                }
                Change::Rename(from, to) => {
                    if let Some(entry) = files.remove(from) {
                        files.insert(to.clone(), entry);
                    }
                }
                Change::Mode(path, mode) => {
                    if let Some(entry) = files.get_mut(path) {
                        entry.mode = *mode;
                    }
                }
            }
        }
    }

    fn add(&mut self, files: Files, parents: Vec<String>, at: Timestamp) -> String {
        let lines: Vec<(&[u8], &Entry)> = files.iter().map(|(p, e)| (p.as_slice(), e)).collect();
        let tree = write_tree(&mut self.trees, &lines, 0);
        self.serial += 1;
        let message = format!("Change number {}", self.serial);
        let mut text = format!("tree {tree}\n");
        for parent in &parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        let who = format!("Ada Example <ada@example.com> {} +0000", at.as_second());
        text.push_str(&format!("author {who}\ncommitter {who}\n\n{message}\n"));
        let id = object_id("commit", text.as_bytes());
        let generation = parents
            .iter()
            .filter_map(|id| self.commits.get(id))
            .map(|parent| parent.generation + 1)
            .max()
            .unwrap_or(0);
        let commit = Commit {
            id: id.clone(),
            tree,
            files: Arc::new(files),
            parents,
            message,
            at,
            serial: self.serial,
            generation,
        };
        self.commits.insert(id.clone(), commit);
        id
    }

    fn reachable(&self, tips: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut queue: Vec<String> = tips.into_iter().collect();
        while let Some(id) = queue.pop() {
            if let Some(commit) = self.commits.get(&id)
                && seen.insert(id)
            {
                queue.extend(commit.parents.iter().cloned());
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::text;
    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    #[test]
    fn ids_are_gits_own() {
        let mut repo = Repo::default();
        let id = repo.commit("main", &[Change::write("a/b.txt", "hello\n")], at());
        repo.push("refs/heads/main");

        let commit = repo.known(&id).unwrap();
        // `git hash-object` and `git mktree` print these.
        assert_eq!(
            commit.files[&b"a/b.txt"[..]].id,
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        let root = repo.tree(&commit.tree).unwrap();
        assert_eq!(
            (root[0].kind(), root[0].name.as_slice()),
            ("tree", &b"a"[..])
        );
        assert_eq!(repo.tree(&root[0].id).unwrap()[0].name, b"b.txt");
    }

    #[test]
    fn equal_directories_have_equal_ids() {
        let mut repo = Repo::default();
        let write = |dir: &str| Change::write(format!("{dir}/x"), "same");
        let id = repo.commit("main", &[write("one"), write("two")], at());
        repo.push("refs/heads/main");

        let root = repo.tree(&repo.known(&id).unwrap().tree).unwrap();
        assert_eq!(root[0].id, root[1].id);
    }

    #[test]
    fn a_merge_takes_what_the_other_side_changed() {
        let mut repo = Repo::default();
        let base = repo.commit(
            "main",
            &[Change::write("a", "1"), Change::write("b", "1")],
            at(),
        );
        repo.reset("topic", &base);
        let topic = repo.commit(
            "topic",
            &[Change::remove("a"), Change::write("c", "1")],
            at(),
        );
        let main = repo.commit("main", &[Change::write("b", "2")], at());
        let merged = repo.merge("main", "topic", &[], at()).unwrap();
        repo.push("refs/heads/main");

        assert_eq!(repo.merge_base(&main, &topic), Some(base));
        let files = &repo.known(&merged).unwrap().files;
        let names: Vec<_> = files.keys().map(|p| text(p)).collect();
        assert_eq!(names, ["b", "c"]);
        let between = repo.commits_between(&merged, &[main]);
        assert_eq!(between.len(), 2);
    }

    #[test]
    fn what_was_not_pushed_the_forge_does_not_know() {
        let mut repo = Repo::default();
        let one = repo.commit("main", &[Change::write("a", "1")], at());
        assert!(repo.known(&one).is_none());

        let moved = repo.push("refs/heads/main");
        assert_eq!(moved, (ZERO.to_owned(), one.clone()));
        assert!(repo.resolve("main").is_some());

        repo.forget(&one);
        assert!(repo.resolve("main").is_none());
    }
}
