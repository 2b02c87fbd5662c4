//! The tree of segments, and how a path is matched against it.

use std::cell::OnceCell;
use std::collections::HashMap;

use memchr::{memchr, memrchr};
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::Matches;
use super::fingerprint::Fingerprint;
use super::segments::{Pattern, Sequence, Wild, extension};

/// A node's index.
type NodeId = u32;
/// The index of a literal segment or an extension among those in globs.
type Name = u32;
type FxMap<K, V> = HashMap<K, V, FxBuildHasher>;

const ROOT: NodeId = 0;

/// Globs as a tree. Each node represents the globs' segments that a path's first segments have matched.
///
/// The hash tables are not keyed: they contain only names from globs, so paths cannot fill them.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    names: Names,
    /// How many nodes have a number in [`Below::nested`].
    nested: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// The nodes that another segment leads to, if it is not the path's last.
    onward: Edges<NodeId>,
    /// The globs that the path's last segment completes, by their indices.
    ends: Edges<Vec<usize>>,
    /// What follows after any number of segments.
    below: Option<Below>,
    /// Whether a `Below` leads to it, or to a node before it.
    deep: bool,
}

/// What follows a node after any number of segments.
#[derive(Clone, Debug)]
struct Below {
    /// Globs that match if any segment follows.
    globs: Vec<usize>,
    /// The node at which the search continues for each of the following segments.
    node: NodeId,
    /// A number for those that one path can reach more than once.
    nested: Option<u32>,
}

/// The values of one kind that a segment leads to from a node.
#[derive(Clone, Debug)]
struct Edges<T> {
    literal: FxMap<Name, T>,
    /// Wildcards whose text ends in an extension, by that extension.
    by_extension: FxMap<Name, Vec<(Wild, T)>>,
    /// The other wildcards.
    others: Vec<(Wild, T)>,
}

impl<T> Default for Edges<T> {
    fn default() -> Self {
        Self {
            literal: FxMap::default(),
            by_extension: FxMap::default(),
            others: Vec::new(),
        }
    }
}

impl<T> Edges<T> {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.by_extension.is_empty() && self.others.is_empty()
    }

    #[inline]
    fn follow<'t>(&'t self, segment: &Segment<'_>, mut reach: impl FnMut(&'t T)) {
        if !self.literal.is_empty()
            && let Some(value) = segment.name().and_then(|name| self.literal.get(&name))
        {
            reach(value);
        }
        let mut attempt = |wildcards: &'t [(Wild, T)]| {
            for (wild, value) in wildcards {
                if wild.matches(segment.text, &segment.fingerprint) {
                    reach(value);
                }
            }
        };
        if !self.by_extension.is_empty()
            && let Some(name) = segment.extension()
            && let Some(wildcards) = self.by_extension.get(&name)
        {
            attempt(wildcards);
        }
        attempt(&self.others);
    }
}

/// Literal segments and extensions that globs name, by number.
#[derive(Clone, Debug, Default)]
struct Names {
    /// Those that are identified by their fingerprints,
    short: FxMap<Fingerprint, Name>,
    /// and the longer ones.
    long: FxMap<Box<[u8]>, Name>,
}

impl Names {
    #[inline]
    fn get(&self, text: &[u8], fingerprint: &Fingerprint) -> Option<Name> {
        if fingerprint.length <= Fingerprint::WHOLE {
            self.short.get(fingerprint).copied()
        } else if self.long.is_empty() {
            None
        } else {
            self.long.get(text).copied()
        }
    }

    fn number(&mut self, text: &[u8]) -> Name {
        let next = number(self.short.len() + self.long.len());
        if text.len() <= Fingerprint::WHOLE {
            *self.short.entry(Fingerprint::of(text)).or_insert(next)
        } else {
            *self.long.entry(text.into()).or_insert(next)
        }
    }
}

/// One segment of a path. Its name is looked up once, and only if needed.
struct Segment<'p> {
    text: &'p [u8],
    fingerprint: Fingerprint,
    names: &'p Names,
    name: OnceCell<Option<Name>>,
    extension: OnceCell<Option<Name>>,
}

impl<'p> Segment<'p> {
    /// The segment from `start` to before `end` of a path.
    #[inline]
    fn new(path: &'p [u8], start: usize, end: usize, names: &'p Names) -> Self {
        Self {
            text: path.get(start..end).unwrap_or_default(),
            fingerprint: Fingerprint::within(path, start, end),
            names,
            name: OnceCell::new(),
            extension: OnceCell::new(),
        }
    }

    #[inline]
    fn name(&self) -> Option<Name> {
        *self
            .name
            .get_or_init(|| self.names.get(self.text, &self.fingerprint))
    }

    #[inline]
    fn extension(&self) -> Option<Name> {
        *self.extension.get_or_init(|| {
            if let Some(fingerprint) = self.fingerprint.extension() {
                return self.names.short.get(&fingerprint).copied();
            }
            let extension = extension(self.text)?;
            self.names.get(extension, &Fingerprint::of(extension))
        })
    }
}

impl Tree {
    /// Appends the indices of the globs that match a path, unordered and possibly repeated.
    pub(super) fn matches(&self, path: &[u8], found: &mut Matches) {
        let mut walk = Walk {
            tree: self,
            path,
            here: SmallVec::new(),
            next: SmallVec::new(),
            deep: SmallVec::new(),
            searching: false,
            seen: SmallVec::from_elem(0, self.nested.div_ceil(64)),
            found,
        };
        walk.arrive(ROOT);
        let mut start = 0;
        while walk.searching || !walk.here.is_empty() {
            let rest = path.get(start..).unwrap_or_default();
            let Some(length) = memchr(b'/', rest) else {
                return walk.end(start);
            };
            walk.step(start, start + length);
            start += length + 1;
        }
        if !walk.deep.is_empty() {
            // Now only the last segment matters.
            walk.end(memrchr(b'/', path).map_or(0, |slash| slash + 1));
        }
    }
}

/// A path on its way down the tree.
struct Walk<'t, 'f> {
    tree: &'t Tree,
    path: &'t [u8],
    /// Nodes that match exactly the segments so far.
    here: SmallVec<[NodeId; 8]>,
    /// Nodes for the next segment.
    next: SmallVec<[NodeId; 8]>,
    /// Nodes that can also be reached by any number of further segments.
    deep: SmallVec<[NodeId; 16]>,
    /// Whether one of those has edges to further nodes.
    searching: bool,
    /// A bit for each numbered `Below` that was reached.
    seen: SmallVec<[u64; 4]>,
    found: &'f mut Matches,
}

impl Walk<'_, '_> {
    /// Reaches a node, with at least one more segment to match.
    fn arrive(&mut self, id: NodeId) {
        let Some(node) = self.tree.nodes.get(id as usize) else {
            return;
        };
        if !(node.onward.is_empty() && node.ends.is_empty()) {
            self.here.push(id);
        }
        let Some(below) = &node.below else { return };
        if let Some(number) = below.nested
            && let Some(word) = self.seen.get_mut(number as usize / 64)
        {
            let bit = 1 << (number % 64);
            if *word & bit != 0 {
                return;
            }
            *word |= bit;
        }
        self.found.extend_from_slice(&below.globs);
        if let Some(node) = self.tree.nodes.get(below.node as usize) {
            let onward = !node.onward.is_empty();
            self.searching |= onward;
            if onward || !node.ends.is_empty() {
                self.deep.push(below.node);
            }
        }
    }

    /// Matches a segment that is not the last.
    fn step(&mut self, start: usize, end: usize) {
        let tree = self.tree;
        let segment = Segment::new(self.path, start, end, &tree.names);
        for id in self.here.iter().chain(&self.deep) {
            if let Some(node) = tree.nodes.get(*id as usize) {
                node.onward.follow(&segment, |id| self.next.push(*id));
            }
        }
        self.here.clear();
        let mut next = std::mem::take(&mut self.next);
        for id in next.drain(..) {
            self.arrive(id);
        }
        self.next = next;
    }

    /// Matches the last segment.
    fn end(&mut self, start: usize) {
        let tree = self.tree;
        let segment = Segment::new(self.path, start, self.path.len(), &tree.names);
        for id in self.here.iter().chain(&self.deep) {
            if let Some(node) = tree.nodes.get(*id as usize) {
                node.ends
                    .follow(&segment, |globs| self.found.extend_from_slice(globs));
            }
        }
    }
}

/// A tree under construction.
pub(super) struct Builder {
    tree: Tree,
    onward: FxMap<(NodeId, Wild), usize>,
    ends: FxMap<(NodeId, Wild), usize>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            tree: Tree {
                nodes: vec![Node::default()],
                names: Names::default(),
                nested: 0,
            },
            onward: FxMap::default(),
            ends: FxMap::default(),
        }
    }
}

impl Builder {
    /// Adds a sequence of the glob with the index `place`.
    pub(super) fn insert(&mut self, sequence: &Sequence, place: usize) {
        let mut at = ROOT;
        let count = sequence.segments.len();
        for (index, segment) in sequence.segments.iter().enumerate() {
            if segment.deep {
                at = self.below(at, None);
            }
            if index + 1 < count || sequence.below {
                at = self.onward(at, &segment.pattern);
            } else {
                self.end(at, &segment.pattern, place);
            }
        }
        if sequence.below {
            self.below(at, Some(place));
        }
    }
}

// Nodes are only created here, so each id is an index of `nodes`.
impl Builder {
    /// The node that `pattern` leads to from `at`, created if necessary.
    fn onward(&mut self, at: NodeId, pattern: &Pattern) -> NodeId {
        let new = number(self.tree.nodes.len());
        let deep = self.tree.nodes[at as usize].deep;
        let edges = &mut self.tree.nodes[at as usize].onward;
        let to = match pattern {
            Pattern::Literal(text) => {
                let name = self.tree.names.number(text);
                *edges.literal.entry(name).or_insert(new)
            }
            Pattern::Wild(wild) => {
                let place = *self
                    .onward
                    .entry((at, wild.clone()))
                    .or_insert_with(|| edges.insert(wild, new, &mut self.tree.names));
                edges.wildcards(wild, &mut self.tree.names)[place].1
            }
        };
        if to == new {
            self.tree.nodes.push(Node {
                deep,
                ..Node::default()
            });
        }
        to
    }

    /// Ends the glob with the index `place` at `at` with `pattern`.
    fn end(&mut self, at: NodeId, pattern: &Pattern, place: usize) {
        let edges = &mut self.tree.nodes[at as usize].ends;
        let globs = match pattern {
            Pattern::Literal(text) => {
                let name = self.tree.names.number(text);
                edges.literal.entry(name).or_default()
            }
            Pattern::Wild(wild) => {
                let place = *self
                    .ends
                    .entry((at, wild.clone()))
                    .or_insert_with(|| edges.insert(wild, Vec::new(), &mut self.tree.names));
                &mut edges.wildcards(wild, &mut self.tree.names)[place].1
            }
        };
        globs.push(place);
    }

    /// The node for what follows `at` after any number of segments; if anything does, `glob` matches.
    fn below(&mut self, at: NodeId, glob: Option<usize>) -> NodeId {
        let new = number(self.tree.nodes.len());
        let node = &mut self.tree.nodes[at as usize];
        let nested = &mut self.tree.nested;
        let below = node.below.get_or_insert_with(|| Below {
            globs: Vec::new(),
            node: new,
            nested: node.deep.then(|| {
                *nested += 1;
                number(*nested - 1)
            }),
        });
        below.globs.extend(glob);
        let to = below.node;
        if to == new {
            self.tree.nodes.push(Node {
                deep: true,
                ..Node::default()
            });
        }
        to
    }

    pub(super) fn build(mut self) -> Tree {
        self.tree.nodes.shrink_to_fit();
        self.tree
    }
}

impl<T> Edges<T> {
    /// The wildcards that this one belongs to.
    fn wildcards(&mut self, wild: &Wild, names: &mut Names) -> &mut Vec<(Wild, T)> {
        match wild.extension() {
            Some(extension) => {
                let name = names.number(extension);
                self.by_extension.entry(name).or_default()
            }
            None => &mut self.others,
        }
    }

    /// Adds a wildcard, and returns its index among those.
    fn insert(&mut self, wild: &Wild, value: T, names: &mut Names) -> usize {
        let wildcards = self.wildcards(wild, names);
        wildcards.push((wild.clone(), value));
        wildcards.len() - 1
    }
}

/// Globs and their segments are few enough for 32 bits.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
