//! The matcher: all globs of a site at once, so that a path is looked at once and not once a glob.

use globset::{Candidate, GlobSet};

use super::Glob;

/// Many globs, each known by its place in the list it was built from.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    /// Each with the place of its first glob.
    sets: Vec<(usize, GlobSet)>,
}

impl Matcher {
    pub(super) fn new(globs: &[&Glob]) -> Self {
        let mut sets = Vec::new();
        build(globs, 0, &mut sets);
        Self { sets }
    }

    /// The places of the globs that match, ascending.
    pub(super) fn matches(&self, path: &[u8]) -> Vec<usize> {
        let path = Candidate::from_bytes(path);
        match self.sets.as_slice() {
            [(_, set)] => set.matches_candidate(&path),
            sets => sets
                .iter()
                .flat_map(|(first, set)| {
                    let places = set.matches_candidate(&path);
                    places.into_iter().map(move |place| first + place)
                })
                .collect(),
        }
    }
}

/// A set has a size limit that each glob keeps alone, but perhaps not all together.
fn build(globs: &[&Glob], first: usize, sets: &mut Vec<(usize, GlobSet)>) {
    match GlobSet::new(globs.iter().map(|glob| glob.compiled())) {
        Ok(set) => sets.push((first, set)),
        Err(_) => {
            let (left, right) = globs.split_at(globs.len() / 2);
            build(left, first, sets);
            build(right, first + left.len(), sets);
        }
    }
}
