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
        Self::compiled_by(globs, |globs| {
            GlobSet::new(globs.iter().map(|glob| glob.compiled())).ok()
        })
    }

    /// A set has a size limit that each glob keeps alone, but perhaps not all together: halves what `compile` refuses.
    fn compiled_by(globs: &[&Glob], compile: impl Fn(&[&Glob]) -> Option<GlobSet>) -> Self {
        let mut sets = Vec::new();
        let mut open = vec![(0, globs)];
        while let Some((first, globs)) = open.pop() {
            if let Some(set) = compile(globs) {
                sets.push((first, set));
            } else if globs.len() > 1 {
                let (left, right) = globs.split_at(globs.len() / 2);
                open.push((first + left.len(), right));
                open.push((first, left));
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_too_large_for_one_set_match_all_the_same() {
        let globs: Vec<Glob> = ["a", "*", "b", "a*", "**", "?", "c", "[ab]"]
            .iter()
            .map(|glob| Glob::parse(glob).unwrap())
            .collect();
        let globs: Vec<&Glob> = globs.iter().collect();

        let at_most_two = Matcher::compiled_by(&globs, |globs| {
            let set = GlobSet::new(globs.iter().map(|glob| glob.compiled())).ok();
            set.filter(|set| set.len() <= 2)
        });

        assert_eq!(at_most_two.sets.len(), 4);
        assert_eq!(at_most_two.matches(b"a"), [0, 1, 3, 4, 5, 7]);
        assert_eq!(
            at_most_two.matches(b"a"),
            Matcher::new(&globs).matches(b"a")
        );
    }
}
