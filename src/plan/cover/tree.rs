//! The tree of directories above the wanted URLs, and the choice among them from the leaves up.

use std::collections::BTreeMap;

use super::lagrangian::{Bound, Item, Quotas};
use super::pareto::{Binding, Front};
use super::point::{Choice, Choices, Point};
use super::{
    Allowance, Budget, Counts, DIRECTORY, OBJECT, Price, UNCOUNTED_OBJECTS, URL, directories_above,
    over, share,
};
use crate::purge::{Mode, PlannedPurge, PurgeKind};

/// The maximum number of ways to keep per subtree,
const WIDTH: usize = 256;
/// and for the first search, which looks for a good cover rather than the best.
const ROUGH_WIDTH: usize = 32;

/// All directories that could be deleted, each after its parent.
pub(super) struct Tree {
    directories: Vec<Directory>,
    /// The number of wanted URLs outside these directories.
    urls_outside: u64,
    /// The number of wanted directories outside these directories.
    directories_outside: u64,
}

#[derive(Debug, Default)]
struct Directory {
    url: String,
    parent: Option<usize>,
    /// The number of wanted URLs in it, without those in directories below.
    urls: u64,
    /// Whether it is wanted itself, and how.
    wanted: Option<Wanted>,
    /// The number of objects in it and below, as far as known.
    objects: u64,
    /// How many of these are purged anyway.
    changed: u64,
}

/// How a wanted directory is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Everything in it: this covers everything below.
    Delete,
    /// Only what the CDN finds changed.
    Flush,
}

impl Tree {
    pub(super) fn of(wanted: &[PlannedPurge], budget: &Budget) -> Self {
        let mut tree = Self {
            directories: Vec::new(),
            urls_outside: 0,
            directories_outside: 0,
        };
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for purge in wanted {
            let kind = purge.kind;
            if kind == PurgeKind::Prefetch {
                continue;
            }
            let mut parent = None;
            for url in directories_above(&purge.target) {
                let inside = parent.is_some()
                    || budget
                        .roots
                        .iter()
                        .any(|root| url.starts_with(root.as_str()));
                if !inside {
                    continue;
                }
                let place = *places.entry(url).or_insert_with(|| {
                    tree.directories.push(Directory {
                        url: url.to_owned(),
                        parent,
                        ..Directory::default()
                    });
                    tree.directories.len() - 1
                });
                parent = Some(place);
            }
            match (
                kind,
                parent.and_then(|place| tree.directories.get_mut(place)),
            ) {
                (PurgeKind::Url, Some(directory)) => directory.urls += 1,
                (PurgeKind::Url, None) => tree.urls_outside += 1,
                (PurgeKind::Directory, Some(directory)) => {
                    let how = match purge.mode {
                        Some(Mode::Delete) => Wanted::Delete,
                        Some(Mode::Flush) | None => Wanted::Flush,
                    };
                    if directory.wanted != Some(Wanted::Delete) {
                        directory.wanted = Some(how);
                    }
                }
                (PurgeKind::Directory, None) => tree.directories_outside += 1,
                (PurgeKind::Prefetch, _) => {}
            }
        }
        tree.count_objects(&budget.objects);
        tree
    }

    /// Counts the objects in each directory. An uncounted directory contains the wanted ones, some more, and those
    /// of directories below it, but never more than a counted directory above it.
    fn count_objects(&mut self, known: &BTreeMap<String, u64>) {
        for place in (0..self.directories.len()).rev() {
            let directory = &mut self.directories[place];
            let estimate = directory.objects + directory.urls + UNCOUNTED_OBJECTS;
            directory.objects = known.get(&directory.url).copied().unwrap_or(estimate);
            let (parent, objects) = (directory.parent, directory.objects);
            if let Some(parent) = parent {
                self.directories[parent].objects += objects;
            }
        }
        for place in 0..self.directories.len() {
            if let Some(parent) = self.directories[place].parent {
                let most = self.directories[parent].objects;
                let objects = &mut self.directories[place].objects;
                *objects = most.min(*objects);
            }
        }
        for place in (0..self.directories.len()).rev() {
            let directory = &mut self.directories[place];
            directory.changed += directory.urls;
            if directory.wanted == Some(Wanted::Delete) {
                directory.changed = directory.changed.max(directory.objects);
            }
            let (parent, changed) = (directory.parent, directory.changed);
            if let Some(parent) = parent {
                self.directories[parent].changed += changed;
            }
        }
    }

    /// The directories to delete in addition to those that are wanted so; none is inside another.
    pub(super) fn cheapest(
        &self,
        budget: &Budget,
        allowance: Allowance,
        wanted: &Counts,
    ) -> Vec<String> {
        let prices = Prices {
            url: URL + share(budget.urls),
            directory: DIRECTORY + share(allowance),
        };
        let mut choices = Choices::default();
        let items: Vec<Item> = self
            .directories
            .iter()
            .enumerate()
            .map(|(place, own)| own.item(&prices, choices.delete(place)))
            .collect();
        let outside = prices.point(self.urls_outside, self.directories_outside);
        let price = |point: &Point| Price {
            overflow: over(point.urls, budget.urls.left) + over(point.directories, allowance.left),
            cost: point.cost,
        };
        let best = |binding: &Binding, choices: &mut Choices| {
            let front = whole(&items, &outside, choices, binding);
            front.points().iter().copied().min_by_key(price)
        };

        let mut binding = binding(&items, &outside, budget, allowance, wanted);
        if let Some(bound) = binding.bound {
            // A good cover, found quickly, excludes most of the candidates for the best one.
            let rough = Binding {
                width: ROUGH_WIDTH,
                ..binding
            };
            let found = best(&rough, &mut choices).filter(|point| price(point).overflow == 0);
            binding.bound = Some(found.map_or(bound, |point| bound.lowered_by(point.cost)));
        }
        let cheapest = best(&binding, &mut choices);
        choices
            .places(cheapest.and_then(|point| point.choice))
            .into_iter()
            .filter_map(|place| Some(self.directories.get(place)?.url.clone()))
            .collect()
    }
}

/// The ways to cover everything.
fn whole(items: &[Item], outside: &Point, choices: &mut Choices, binding: &Binding) -> Front {
    let mut fronts: Vec<Front> = items
        .iter()
        .map(|item| Front::of(item.keep, binding))
        .collect();
    let mut whole = Front::of(*outside, binding);
    for item in items.iter().rev() {
        let mut front = fronts.pop().unwrap_or_default();
        match item.delete {
            Some(delete) => front.add(delete, binding),
            None => front = Front::of(item.keep, binding),
        }
        let into = item.parent.and_then(|parent| fronts.get_mut(parent));
        into.unwrap_or(&mut whole).join(&front, choices, binding);
    }
    whole
}

/// The price of one target, including its share of a request.
struct Prices {
    url: u64,
    directory: u64,
}

impl Prices {
    fn point(&self, urls: u64, directories: u64) -> Point {
        Point {
            directories,
            urls,
            cost: urls * self.url + directories * self.directory,
            choice: None,
        }
    }
}

impl Directory {
    fn item(&self, prices: &Prices, choice: Choice) -> Item {
        let deleted = prices.point(0, 1);
        let (keep, delete) = match self.wanted {
            Some(Wanted::Delete) => (deleted, None),
            flushed @ (Some(Wanted::Flush) | None) => {
                let unchanged = self.objects.saturating_sub(self.changed);
                let delete = Point {
                    cost: deleted
                        .cost
                        .saturating_add(unchanged.saturating_mul(OBJECT)),
                    choice: Some(choice),
                    ..deleted
                };
                let directories = u64::from(flushed.is_some());
                (prices.point(self.urls, directories), Some(delete))
            }
        };
        Item {
            parent: self.parent,
            keep,
            delete,
        }
    }
}

fn binding(
    items: &[Item],
    outside: &Point,
    budget: &Budget,
    allowance: Allowance,
    wanted: &Counts,
) -> Binding {
    let most = allowance
        .left
        .map_or(u64::MAX, |left| left.max(wanted.directories));
    let most_choosable = items.len() as u64 + wanted.directories;
    let urls = budget.urls.left.filter(|left| wanted.urls > *left);
    Binding {
        urls: urls.is_some(),
        directories: (most < most_choosable).then_some(most),
        width: WIDTH,
        bound: urls.and_then(|urls| {
            let directories = allowance.left.unwrap_or(most_choosable);
            Bound::find(items, outside, Quotas { urls, directories })
        }),
    }
}
