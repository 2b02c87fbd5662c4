//! Lagrangian relaxation: excludes ways to cover a part that cannot belong to the cheapest cover.
//!
//! With a multiplier (a price) on each URL and each directory instead of quotas, one visit per directory finds the
//! cheapest cover. Its cost minus the price of the whole quota is a lower bound for the cost of any cover within
//! the quotas. A way to cover a part is excluded if it costs more than the best way by more than the gap between
//! that bound and a known cover.

use super::point::Point;

/// A directory that could be deleted. Each comes after its parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// The index of its parent.
    pub(super) parent: Option<usize>,
    /// The wanted purges in it, without those in directories below.
    pub(super) keep: Point,
    /// The alternative: deleting it with everything below. None if it is wanted so, and `keep` is that.
    pub(super) delete: Option<Point>,
}

/// The rest of both quotas.
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

/// Prices in addition to the cost, in the unit of [`super::OBJECT`].
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

/// Multipliers, and how much more than the best way of a part another way may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    multipliers: Multipliers,
    /// A lower bound for the cost of every cover.
    lower: i128,
    slack: u128,
}

impl Bound {
    /// The bound if a cover of this cost is known.
    pub(super) fn lowered_by(self, cost: u64) -> Self {
        let slack = u128::try_from(i128::from(cost) - self.lower).unwrap_or(0);
        Self {
            slack: self.slack.min(slack),
            ..self
        }
    }

    /// A way's cost including the multipliers.
    pub(super) fn priced(&self, point: &Point) -> u128 {
        self.multipliers.with(point)
    }

    /// Whether a way can belong to the cheapest cover, given the least cost of any way to cover its part.
    pub(super) fn allows(&self, point: &Point, least: u128) -> bool {
        self.priced(point) <= least.saturating_add(self.slack)
    }

    /// The bound for the best multipliers found. None if no cover within both quotas was found.
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

/// The largest multiplier to try, far beyond any relevant price.
const MAX_MULTIPLIER: u64 = 1 << 44;

/// Approximately the least sufficient multiplier. As the multiplier rises, `is_enough` turns true once.
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
    // A precision of one part in a thousand is enough.
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
    /// For each item: the sum of the best ways to cover those below it. Reused.
    open: Vec<(u128, Point)>,
    /// The least known cost of a cover within the quotas.
    cheapest: Option<u64>,
    /// The highest lower bound, and its multipliers.
    best: (i128, Multipliers),
}

impl Search<'_> {
    /// The cheapest cover with this multiplier on URLs, and one on directories that brings them within their quota.
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
