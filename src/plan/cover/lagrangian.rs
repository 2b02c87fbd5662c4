//! Lagrangian relaxation: excludes ways to cover a part that cannot belong to the cheapest cover.
//!
//! With a multiplier (a price) on each URL and each directory instead of quotas, one visit per directory finds the
//! cheapest cover. Its cost minus the price of the whole quota is a lower bound for the cost of any cover within
//! the quotas. A way to cover a part is excluded if it costs more than the best way by more than the gap between
//! that bound and a known cover.

use super::point::Point;

/// A directory among those that could be deleted. Each comes after the one it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// The place of the one it is in.
    pub(super) parent: Option<usize>,
    /// What is wanted in it, not counting those below, purged as it is wanted.
    pub(super) keep: Point,
    /// It deleted instead, with all below. None where it is wanted so: then `keep` is that.
    pub(super) delete: Option<Point>,
}

/// What is left of both quotas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quotas {
    pub(super) urls: u64,
    pub(super) directories: u64,
}

impl Quotas {
    pub(super) fn hold(&self, point: &Point) -> bool {
        point.urls <= self.urls && point.directories <= self.directories
    }
}

/// Prices on top of the cost, in the unit of [`super::OBJECT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Multipliers {
    url: u64,
    directory: u64,
}

impl Multipliers {
    fn with(self, point: &Point) -> u128 {
        u128::from(point.cost)
            + u128::from(point.urls) * u128::from(self.url)
            + u128::from(point.directories) * u128::from(self.directory)
    }
}

/// Multipliers, and how far above the best of a part a way may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    multipliers: Multipliers,
    /// No cover costs less.
    lower: i128,
    slack: u128,
}

impl Bound {
    /// The bound now that a cover of this cost is known.
    pub(super) fn lowered_by(self, cost: u64) -> Self {
        let slack = u128::try_from(i128::from(cost) - self.lower).unwrap_or(0);
        Self {
            slack: self.slack.min(slack),
            ..self
        }
    }

    /// A way's cost with the multipliers.
    pub(super) fn priced(&self, point: &Point) -> u128 {
        self.multipliers.with(point)
    }

    /// Whether a way may be part of the cheapest cover, given the least that any way to cover its part comes to.
    pub(super) fn allows(&self, point: &Point, least: u128) -> bool {
        self.priced(point) <= least.saturating_add(self.slack)
    }

    /// The bound that the best multipliers found give. None where no cover keeps both quotas, as far as was seen.
    pub(super) fn find(items: &[Item], outside: &Point, quotas: Quotas) -> Option<Self> {
        let mut search = Search {
            items,
            outside,
            quotas,
            open: Vec::new(),
            cheapest: None,
            best: (i128::MIN, Multipliers::default()),
        };
        least_multiplier(|url| {
            search
                .try_with_url_multiplier(url)
                .is_some_and(|point| point.urls <= quotas.urls)
        });
        let (lower, multipliers) = search.best;
        let bound = Self {
            multipliers,
            lower,
            slack: u128::MAX,
        };
        Some(bound.lowered_by(search.cheapest?))
    }
}

/// Multipliers are tried up to here; some rounds beyond any price that matters.
const MAX_MULTIPLIER: u64 = 1 << 44;

/// About the least multiplier that is enough. `is_enough` turns true once, as the multiplier rises.
fn least_multiplier(mut is_enough: impl FnMut(u64) -> bool) -> Option<u64> {
    if is_enough(0) {
        return Some(0);
    }
    let (mut low, mut high) = (0, 256);
    while !is_enough(high) {
        if high >= MAX_MULTIPLIER {
            return None;
        }
        low = high;
        high *= 4;
    }
    // A multiplier that is one part in a thousand off makes no difference that counts.
    while high - low > 1 + low / 1_024 {
        let middle = low + (high - low) / 2;
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

struct Search<'i> {
    items: &'i [Item],
    outside: &'i Point,
    quotas: Quotas,
    /// By item: the best ways to cover those below it, summed up. Kept to be used again.
    open: Vec<(u128, Point)>,
    /// The least cost of a cover that keeps the quotas.
    cheapest: Option<u64>,
    /// The highest lower bound, and its multipliers.
    best: (i128, Multipliers),
}

impl Search<'_> {
    /// The cheapest cover with this multiplier on URLs, and one on directories that brings them under their quota.
    fn try_with_url_multiplier(&mut self, url: u64) -> Option<Point> {
        let mut enough = None;
        least_multiplier(|directory| {
            let point = self.solve(Multipliers { url, directory });
            let is_enough = point.directories <= self.quotas.directories;
            if is_enough {
                enough = Some(point);
            }
            is_enough
        });
        enough
    }

    /// The cheapest cover with these multipliers.
    fn solve(&mut self, multipliers: Multipliers) -> Point {
        self.open.clear();
        self.open.extend(
            self.items
                .iter()
                .map(|item| (multipliers.with(&item.keep), item.keep)),
        );
        let mut whole = (multipliers.with(self.outside), *self.outside);
        for item in self.items.iter().rev() {
            let Some(mut best) = self.open.pop() else {
                break;
            };
            match &item.delete {
                Some(delete) => {
                    let priced = multipliers.with(delete);
                    if priced < best.0 {
                        best = (priced, *delete);
                    }
                }
                None => best = (multipliers.with(&item.keep), item.keep),
            }
            let into = item.parent.and_then(|parent| self.open.get_mut(parent));
            let into = into.unwrap_or(&mut whole);
            into.0 += best.0;
            into.1 = into.1.and(&best.1);
        }
        let (priced, point) = whole;
        if self.quotas.hold(&point) {
            self.cheapest = Some(
                self.cheapest
                    .map_or(point.cost, |least| least.min(point.cost)),
            );
        }
        let paid = u128::from(self.quotas.urls) * u128::from(multipliers.url)
            + u128::from(self.quotas.directories) * u128::from(multipliers.directory);
        let lower =
            i128::try_from(priced).unwrap_or(i128::MAX) - i128::try_from(paid).unwrap_or(i128::MAX);
        if lower > self.best.0 {
            self.best = (lower, multipliers);
        }
        point
    }
}
