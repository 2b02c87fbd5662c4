//! Fronts: of all ways to cover a subtree, those of which none is better in every respect.

/// Ways that are kept of one subtree. Only a URL quota that binds can make more.
pub(super) const WIDTH: usize = 1_024;

/// One way to cover a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// Directories it purges, wanted or chosen.
    pub(super) directories: u64,
    /// URLs it purges.
    pub(super) urls: u64,
    /// In the unit of [`super::OBJECT`].
    pub(super) cost: u64,
    /// The directories it chooses.
    pub(super) choice: Option<Choice>,
}

/// A set of chosen directories, by its place in [`Choices`].
pub(super) type Choice = usize;

/// Sets of directories that share their parts.
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

    fn both(&mut self, one: Option<Choice>, other: Option<Choice>) -> Option<Choice> {
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

/// Which of the quotas can run out, and so must be kept apart from the cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// Whether fewer URLs can be worth a higher cost.
    pub(super) urls: bool,
    /// The most directories there may be, if there could be more.
    pub(super) directories: Option<u64>,
}

/// Points in order of cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Front(Vec<Point>);

impl Front {
    pub(super) fn of(point: Point) -> Self {
        Self(vec![point])
    }

    pub(super) fn points(&self) -> &[Point] {
        &self.0
    }

    /// Adds one more way to cover the same subtree.
    pub(super) fn add(&mut self, point: Point, binding: &Binding) {
        self.0.push(point);
        // Stable: where two are equal, the one that chooses less stays first.
        self.0.sort_by_key(order);
        let mut sweep = Sweep::new(binding);
        self.0.retain(|point| sweep.keeps(point));
    }

    /// Covers another subtree as well.
    pub(super) fn join(&mut self, other: &Self, choices: &mut Choices, binding: &Binding) {
        let mut pairs = Vec::with_capacity(self.0.len() * other.0.len());
        for one in &self.0 {
            for two in &other.0 {
                let sum = Point {
                    directories: one.directories + two.directories,
                    urls: one.urls + two.urls,
                    cost: one.cost + two.cost,
                    choice: None,
                };
                if binding
                    .directories
                    .is_none_or(|most| sum.directories <= most)
                {
                    pairs.push((sum, one.choice, two.choice));
                }
            }
        }
        pairs.sort_by_key(|(sum, _, _)| order(sum));
        let mut sweep = Sweep::new(binding);
        pairs.retain(|(sum, _, _)| sweep.keeps(sum));
        thin(&mut pairs);
        self.0 = pairs
            .into_iter()
            .map(|(sum, one, two)| Point {
                choice: choices.both(one, two),
                ..sum
            })
            .collect();
    }
}

fn order(point: &Point) -> (u64, u64, u64) {
    (point.cost, point.directories, point.urls)
}

/// Drops all but [`WIDTH`] points, evenly; never the one with the least cost, directories or URLs.
fn thin<T: Copy>(points: &mut Vec<(Point, T, T)>) {
    if points.len() <= WIDTH {
        return;
    }
    let least = |value: fn(&Point) -> u64| points.iter().map(|(point, _, _)| value(point)).min();
    let directories = least(|point| point.directories);
    let urls = least(|point| point.urls);
    let step = points.len().div_ceil(WIDTH);
    let mut index = 0;
    let (mut had_directories, mut had_urls) = (false, false);
    points.retain(|(point, _, _)| {
        let fewest_directories = Some(point.directories) == directories && !had_directories;
        let fewest_urls = Some(point.urls) == urls && !had_urls;
        had_directories |= fewest_directories;
        had_urls |= fewest_urls;
        index += 1;
        (index - 1) % step == 0 || fewest_directories || fewest_urls
    });
}

/// Goes through points in order of cost, and keeps those that have something over all before them.
struct Sweep<'b> {
    binding: &'b Binding,
    /// By number of directories: the fewest URLs that were kept with that many or fewer.
    fewest: Vec<u64>,
}

impl<'b> Sweep<'b> {
    fn new(binding: &'b Binding) -> Self {
        Self {
            binding,
            fewest: Vec::new(),
        }
    }

    fn keeps(&mut self, point: &Point) -> bool {
        let urls = if self.binding.urls { point.urls } else { 0 };
        let directories = match self.binding.directories {
            Some(_) => usize::try_from(point.directories).unwrap_or(usize::MAX - 1),
            None => 0,
        };
        if self.fewest.len() <= directories {
            let last = self.fewest.last().copied().unwrap_or(u64::MAX);
            self.fewest.resize(directories + 1, last);
        }
        let mut kept = false;
        for fewest in self.fewest.iter_mut().skip(directories) {
            if *fewest <= urls {
                break;
            }
            *fewest = urls;
            kept = true;
        }
        kept
    }
}
