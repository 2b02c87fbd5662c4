//! Pareto fronts: the ways to cover a subtree that no other way beats in every respect.

use super::lagrangian::Bound;
use super::point::{Choices, Point};

/// The quotas that can run out, and so must be tracked separately from the cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// Whether fewer URLs can be worth a higher cost.
    pub(super) urls: bool,
    /// The maximum number of directories, if there could be more.
    pub(super) directories: Option<u64>,
    /// Ways to keep for one part. Only a binding URL quota can create more.
    pub(super) width: usize,
    /// The ways that the cheapest cover excludes, if known.
    pub(super) bound: Option<Bound>,
}

impl Binding {
    fn priced(&self, point: &Point) -> u128 {
        self.bound.map_or(0, |bound| bound.priced(point))
    }

    fn allows(&self, point: &Point, least: u128) -> bool {
        self.directories
            .is_none_or(|most| point.directories <= most)
            && self.bound.is_none_or(|bound| bound.allows(point, least))
    }
}

/// A Pareto front: points in order of cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Front {
    points: Vec<Point>,
    /// The least cost of any way with the bound's multipliers, including dropped ones.
    least: u128,
}

impl Front {
    pub(super) fn of(point: Point, binding: &Binding) -> Self {
        Self {
            points: vec![point],
            least: binding.priced(&point),
        }
    }

    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Adds another way to cover the same part.
    pub(super) fn add(&mut self, point: Point, binding: &Binding) {
        self.least = self.least.min(binding.priced(&point));
        self.points.push(point);
        self.points
            .retain(|point| binding.allows(point, self.least));
        // A stable sort: of two equal ways, the one that chooses less stays first.
        self.points.sort_by_key(order);
        let mut sweep = Sweep::new(binding);
        self.points.retain(|point| sweep.keeps(point));
    }

    /// Combines it with the ways to cover another part.
    pub(super) fn join(&mut self, other: &Self, choices: &mut Choices, binding: &Binding) {
        self.least += other.least;
        let mut pairs = Vec::with_capacity(self.points.len() + other.points.len());
        for one in &self.points {
            for two in &other.points {
                let both = one.and(two);
                if binding.allows(&both, self.least) {
                    pairs.push((both, one.choice, two.choice));
                }
            }
        }
        pairs.sort_by_key(|(both, _, _)| order(both));
        let mut sweep = Sweep::new(binding);
        pairs.retain(|(both, _, _)| sweep.keeps(both));
        thin(&mut pairs, binding.width);
        self.points = pairs
            .into_iter()
            .map(|(both, one, two)| Point {
                choice: choices.both(one, two),
                ..both
            })
            .collect();
    }
}

fn order(point: &Point) -> (u64, u64, u64) {
    (point.cost, point.directories, point.urls)
}

/// Drops points evenly until this many are left, but never the one with the least cost, directories or URLs.
fn thin<T: Copy>(points: &mut Vec<(Point, T, T)>, width: usize) {
    if points.len() <= width {
        return;
    }
    let least = |value: fn(&Point) -> u64| points.iter().map(|(point, _, _)| value(point)).min();
    let directories = least(|point| point.directories);
    let urls = least(|point| point.urls);
    let step = points.len().div_ceil(width.max(1));
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

/// Visits points in order of cost, and keeps those that are better than all previous ones in some respect.
struct Sweep<'b> {
    binding: &'b Binding,
    /// By number of directories: the fewest URLs of any kept way with at most that many directories.
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
