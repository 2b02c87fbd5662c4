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

/// Bytes for each byte, wildcard or class of a glob whose braces are written out: a segment is at least one of those
/// and a slash, and has a node.
const ATOM_MEMORY: usize = 200;

/// The places of the globs that match a path, ascending.
pub type Matches = SmallVec<[usize; 8]>;

/// Many globs, each known by its place in the list it was built from.
///
/// Memory: with the globs themselves, at most what [`Matcher::memory_of`] says of each. Time for a path: each of its
/// segments is looked up at the nodes that are still possible there, of which there are at most as many as pieces
/// of globs, and tried with those nodes' wildcards; in practice a few nodes. Nothing is built while matching.
#[derive(Clone, Debug)]
pub struct Matcher {
    tree: Tree,
    /// The few globs that no tree of segments can hold: their braces make too many lines, or start a `**`
    /// in the middle of a segment. Each is tried by globset, where a path starts as it does.
    alone: Vec<Alone>,
}

#[derive(Clone, Debug)]
struct Alone {
    place: usize,
    start: Box<[u8]>,
    set: GlobSet,
}

impl Matcher {
    /// Builds a matcher over globs, which are known by their places from then on.
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

    /// Bytes of memory that a glob takes at most, by itself and in a matcher, without what regular
    /// expressions cache while they match (at most 2 MB for each, and none for globs that the tree holds).
    /// `tests/memory.rs` holds it to that.
    pub fn memory_of(glob: &Glob) -> usize {
        glob.compiled_memory() + ATOM_MEMORY * atoms::written_size(glob.compiled().glob())
    }

    /// The places of the globs that match a path. Allocates nothing while they are few.
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

/// A glob as sequences of segments, of which a path must fit one.
fn sequences(glob: &str) -> Option<Vec<Sequence>> {
    let lines = atoms::lines(glob)?;
    lines.iter().map(|line| Sequence::of(line)).collect()
}

/// What every path that a glob matches starts with, as far as it is plain to see.
fn literal_start(glob: &str) -> &[u8] {
    let end = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
    glob.get(..end).unwrap_or_default().as_bytes()
}
