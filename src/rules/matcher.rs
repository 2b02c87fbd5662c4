//! The matcher: matches a path against all globs of a site at once.
//!
//! Each glob's braces are expanded, and each result is split at its slashes. The segments form a tree, which a path
//! is matched against segment by segment. A node finds literal segments by hashing, and tries its wildcards only on
//! segments with their extension.

mod atoms;
mod fingerprint;
mod segments;
#[cfg(test)]
mod tests;
mod tree;

use globset::GlobSet;
use smallvec::SmallVec;

use super::Glob;
use segments::Sequence;
use tree::Tree;

/// Bytes for each byte, wildcard or class of a glob with expanded braces: a segment has at least one of these and a
/// slash, and has a node.
const ATOM_MEMORY: usize = 200;

/// The indices of the globs that match a path, ascending.
pub type Matches = SmallVec<[usize; 8]>;

/// Many globs, each identified by its index in the list.
///
/// Memory: including the globs themselves, at most the sum of [`Matcher::memory_of`]. Time per path: each of its
/// segments is looked up at the nodes that are still possible there, of which there are at most as many as segments
/// of globs, and compared with those nodes' wildcards; in practice a few nodes. Nothing is built while matching.
#[derive(Clone, Debug)]
pub struct Matcher {
    tree: Tree,
    /// The few globs that do not fit into a tree of segments: their braces expand to too many lines, or contain a
    /// `**` in the middle of a segment. Each is matched by globset if the path has its literal start.
    alone: Vec<Alone>,
}

#[derive(Clone, Debug)]
struct Alone {
    place: usize,
    start: Box<[u8]>,
    set: GlobSet,
}

impl Matcher {
    /// Builds a matcher over globs, which are then identified by their indices.
    pub fn new<'g>(globs: impl IntoIterator<Item = &'g Glob>) -> Self {
        let mut alone = Vec::new();
        let mut tree = tree::Builder::default();
        for (place, glob) in globs.into_iter().enumerate() {
            match sequences(glob.compiled().glob()) {
                Some(sequences) => sequences.iter().for_each(|each| tree.insert(each, place)),
                None => alone.push(Alone {
                    place,
                    start: literal_start(glob.text()).into(),
                    set: glob.alone().clone(),
                }),
            }
        }
        Self {
            tree: tree.build(),
            alone,
        }
    }

    /// The maximum memory of a glob in bytes, by itself and in a matcher, without the caches of regular expressions
    /// (at most 2 MB each, and none for globs in the tree). `tests/memory.rs` checks it.
    pub fn memory_of(glob: &Glob) -> usize {
        glob.compiled_memory() + ATOM_MEMORY * atoms::written_size(glob.compiled().glob())
    }

    /// The indices of the globs that match a path. Does not allocate while they are few.
    pub fn matches(&self, path: &[u8]) -> Matches {
        let mut places = Matches::new();
        self.tree.matches(path, &mut places);
        for alone in &self.alone {
            if path.starts_with(&alone.start)
                && alone
                    .set
                    .is_match_candidate(&globset::Candidate::from_bytes(path))
            {
                places.push(alone.place);
            }
        }
        // A glob with braces can match by several of its lines.
        if places.len() > 1 {
            places.sort_unstable();
            places.dedup();
        }
        places
    }
}

/// A glob as sequences of segments, one of which a path must match.
fn sequences(glob: &str) -> Option<Vec<Sequence>> {
    let lines = atoms::lines(glob)?;
    lines.iter().map(|line| Sequence::of(line)).collect()
}

/// The literal start that all paths matched by a glob obviously have.
fn literal_start(glob: &str) -> &[u8] {
    let end = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
    glob.get(..end).unwrap_or_default().as_bytes()
}
