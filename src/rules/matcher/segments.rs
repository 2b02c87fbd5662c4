//! A sequence of atoms split at its slashes: one pattern for each segment of a path.

use memchr::memrchr;

use super::atoms::Atom;
use super::fingerprint::{Fingerprint, first, last};

/// What a path must match, segment by segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    /// In order.
    pub(super) segments: Vec<Segment>,
    /// Whether at least one more segment of any kind must follow; otherwise the path ends.
    pub(super) below: bool,
}

/// One segment of the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Whether any number of segments, including none, may come before it.
    pub(super) deep: bool,
    pub(super) pattern: Pattern,
}

/// The pattern for one segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Literal(Box<[u8]>),
    Wild(Wild),
}

impl Sequence {
    /// None if a `**` starts or ends inside a segment, which braces allow: `a{**/b,c}`.
    pub(super) fn of(line: &[Atom]) -> Option<Self> {
        let mut sequence = Self {
            segments: Vec::new(),
            below: false,
        };
        let mut deep = false;
        let mut atoms: Vec<Atom> = Vec::new();
        // After `/**`: the segment may be any number of them.
        let mut open = false;
        let mut cut = |deep: bool, atoms: &mut Vec<Atom>| {
            sequence.segments.push(Segment {
                deep,
                pattern: Pattern::of(std::mem::take(atoms)),
            });
        };
        for atom in line {
            match atom {
                Atom::Byte(b'/') => {
                    cut(deep, &mut atoms);
                    deep = std::mem::take(&mut open);
                }
                Atom::Deep => {
                    cut(deep, &mut atoms);
                    deep = true;
                    open = false;
                }
                Atom::DeepEnd => {
                    cut(deep, &mut atoms);
                    deep = std::mem::replace(&mut open, true);
                    atoms.push(Atom::Star);
                }
                Atom::DeepStart if atoms.is_empty() => deep = true,
                Atom::DeepStart => return None,
                Atom::Byte(_) | Atom::Any | Atom::Class(_) | Atom::Star if open => return None,
                Atom::Byte(_) | Atom::Any | Atom::Class(_) | Atom::Star => atoms.push(atom.clone()),
            }
        }
        if open {
            // A `deep` before it changes nothing: one more segment is enough.
            sequence.below = true;
        } else {
            cut(deep, &mut atoms);
        }
        Some(sequence)
    }
}

impl Pattern {
    fn of(atoms: Vec<Atom>) -> Self {
        let byte = |atom: &Atom| match atom {
            Atom::Byte(byte) => Some(*byte),
            Atom::Any
            | Atom::Class(_)
            | Atom::Star
            | Atom::DeepStart
            | Atom::Deep
            | Atom::DeepEnd => None,
        };
        let prefix: Box<[u8]> = atoms.iter().map_while(byte).collect();
        let mut middle: Vec<Atom> = atoms.into_iter().skip(prefix.len()).collect();
        if middle.is_empty() {
            return Self::Literal(prefix);
        }
        let mut suffix: Vec<u8> = middle.iter().rev().map_while(byte).collect();
        suffix.reverse();
        middle.truncate(middle.len() - suffix.len());
        middle.dedup_by(|a, b| *a == Atom::Star && *b == Atom::Star);
        Self::Wild(Wild::new(prefix, middle.into(), suffix.into()))
    }
}

/// A pattern with `*`, `?` or a class in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wild {
    /// The bytes before the first of them,
    prefix: Box<[u8]>,
    /// from the first to the last,
    middle: Box<[Atom]>,
    /// and after the last.
    suffix: Box<[u8]>,
    /// The prefix's head and the suffix's tail, which rule out most segments,
    fingerprint: Fingerprint,
    /// and the relevant bytes of those.
    masks: (u64, u64),
}

impl Wild {
    fn new(prefix: Box<[u8]>, middle: Box<[Atom]>, suffix: Box<[u8]>) -> Self {
        Self {
            fingerprint: Fingerprint {
                head: Fingerprint::of(&prefix).head,
                tail: Fingerprint::of(&suffix).tail,
                length: prefix.len() + suffix.len(),
            },
            masks: (first(prefix.len()), last(suffix.len())),
            prefix,
            middle,
            suffix,
        }
    }

    /// The extension of every segment that it matches, if its end determines one.
    pub(super) fn extension(&self) -> Option<&[u8]> {
        extension(&self.suffix)
    }

    /// Whether it matches a segment. Takes at most as many steps as its atoms times the segment's bytes.
    #[inline]
    pub(super) fn matches(&self, segment: &[u8], fingerprint: &Fingerprint) -> bool {
        let (head, tail) = self.masks;
        fingerprint.head & head == self.fingerprint.head
            && fingerprint.tail & tail == self.fingerprint.tail
            && fingerprint.length >= self.fingerprint.length
            && self.matches_whole(segment)
    }

    fn matches_whole(&self, segment: &[u8]) -> bool {
        let rest = segment.strip_prefix(&*self.prefix);
        let Some(rest) = rest.and_then(|rest| rest.strip_suffix(&*self.suffix)) else {
            return false;
        };
        match &*self.middle {
            [Atom::Star] => true,
            middle => fits(middle, rest),
        }
    }
}

/// The part from the last `.`.
pub(super) fn extension(segment: &[u8]) -> Option<&[u8]> {
    let dot = memrchr(b'.', segment)?;
    segment.get(dot..)
}

/// Whether atoms match a text to its end. Backtracks only to the last `*`: an earlier one cannot match anything
/// that the last one could not.
fn fits(atoms: &[Atom], text: &[u8]) -> bool {
    let (mut atom, mut byte) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (atoms.get(atom), text.get(byte)) {
            (None, None) => return true,
            (Some(Atom::Star), _) => {
                atom += 1;
                star = Some((atom, byte));
                continue;
            }
            (Some(one), Some(next)) if one.takes(*next) => {
                atom += 1;
                byte += 1;
                continue;
            }
            (_, _) => {}
        }
        match star {
            Some((behind, taken)) if taken < text.len() => {
                (atom, byte) = (behind, taken + 1);
                star = Some((behind, taken + 1));
            }
            Some(_) | None => return false,
        }
    }
}
