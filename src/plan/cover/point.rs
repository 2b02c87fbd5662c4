//! One way to cover a subtree: its cost and its directories.

/// One way to cover a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// The number of directories that it purges, wanted or chosen.
    pub(super) directories: u64,
    /// The number of URLs that it purges.
    pub(super) urls: u64,
    /// Its cost in the unit of [`super::OBJECT`].
    pub(super) cost: u64,
    /// The chosen directories.
    pub(super) choice: Option<Choice>,
}

impl Point {
    /// The sum of two ways for different parts, without a choice.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            directories: self.directories + other.directories,
            urls: self.urls + other.urls,
            cost: self.cost + other.cost,
            choice: None,
        }
    }
}

/// A set of chosen directories, as an index in [`Choices`].
pub(super) type Choice = usize;

/// Sets of directories that share their subsets.
#[derive(Debug, Default)]
pub(super) struct Choices(Vec<Made>);

#[derive(Clone, Copy, Debug)]
enum Made {
    Delete(usize),
    Both(Choice, Choice),
}

impl Choices {
    pub(super) fn delete(&mut self, directory: usize) -> Choice {
        self.0.push(Made::Delete(directory));
        self.0.len() - 1
    }

    pub(super) fn both(&mut self, one: Option<Choice>, other: Option<Choice>) -> Option<Choice> {
        match (one, other) {
            (Some(one), Some(other)) => {
                self.0.push(Made::Both(one, other));
                Some(self.0.len() - 1)
            }
            (one, other) => one.or(other),
        }
    }

    /// The directories of a set.
    pub(super) fn places(&self, choice: Option<Choice>) -> Vec<usize> {
        let mut places = Vec::new();
        let mut open: Vec<Choice> = choice.into_iter().collect();
        while let Some(made) = open.pop().and_then(|choice| self.0.get(choice)) {
            match *made {
                Made::Delete(place) => places.push(place),
                Made::Both(one, other) => open.extend([one, other]),
            }
        }
        places.sort_unstable();
        places
    }
}
