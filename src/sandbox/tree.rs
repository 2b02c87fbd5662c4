//! Trees as git stores them: files by path, and tree objects with git's own ids.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

/// The mode of a plain file.
pub const FILE: u32 = 0o100_644;
/// The mode of a file that may be run.
pub const EXECUTABLE: u32 = 0o100_755;
/// The mode of a symbolic link.
pub const SYMLINK: u32 = 0o120_000;
/// The mode of a submodule.
pub const SUBMODULE: u32 = 0o160_000;
const DIRECTORY: u32 = 0o040_000;

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub mode: u32,
    pub id: String,
    pub size: usize,
}

/// A whole tree by path. Byte order is also git's own order of trees walked depth first.
pub(super) type Files = BTreeMap<Vec<u8>, Entry>;

/// One line of one tree object.
#[derive(Clone, Debug)]
pub(super) struct TreeEntry {
    pub name: Vec<u8>,
    pub mode: u32,
    pub id: String,
    /// None for a directory or a submodule.
    pub size: Option<usize>,
}

impl TreeEntry {
    /// git's word for what the entry is.
    pub fn kind(&self) -> &'static str {
        match self.mode {
            DIRECTORY => "tree",
            SUBMODULE => "commit",
            _ => "blob",
        }
    }
}

/// git's object id: SHA-1 over type, length and content.
pub(super) fn object_id(kind: &str, content: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", content.len()));
    hash.update(content);
    hex::encode(hash.finalize())
}

/// Writes the tree objects for files that share a directory of `depth` bytes; the id of the topmost.
pub(super) fn write_tree(
    trees: &mut BTreeMap<String, Vec<TreeEntry>>,
    files: &[(&[u8], &Entry)],
    depth: usize,
) -> String {
    let mut entries: Vec<TreeEntry> = Vec::new();
    let mut rest = files;
    while let Some(((path, entry), others)) = rest.split_first() {
        let tail = path.get(depth..).unwrap_or_default();
        let Some(slash) = tail.iter().position(|b| *b == b'/') else {
            entries.push(TreeEntry {
                name: tail.to_vec(),
                mode: entry.mode,
                id: entry.id.clone(),
                size: (entry.mode != SUBMODULE).then_some(entry.size),
            });
            rest = others;
            continue;
        };
        let below = depth + slash + 1;
        let prefix = path.get(..below).unwrap_or_default();
        let count = rest
            .iter()
            .take_while(|(path, _)| path.starts_with(prefix))
            .count();
        let (inside, after) = rest.split_at(count);
        let id = write_tree(trees, inside, below);
        entries.push(TreeEntry {
            name: tail.get(..slash).unwrap_or_default().to_vec(),
            mode: DIRECTORY,
            id,
            size: None,
        });
        rest = after;
    }
    let mut text = Vec::new();
    for entry in &entries {
        text.extend_from_slice(format!("{:o} ", entry.mode).as_bytes());
        text.extend_from_slice(&entry.name);
        text.push(0);
        text.extend_from_slice(&hex::decode(&entry.id).unwrap_or_default());
    }
    let id = object_id("tree", &text);
    trees.entry(id.clone()).or_insert(entries);
    id
}

/// A path for JSON, where only UTF-8 can stand.
pub(super) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
