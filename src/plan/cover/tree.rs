//! The directories above what is wanted, and the choice among them from the leaves up.

use std::collections::BTreeMap;

use super::front::{Binding, Choices, Front, Point};
use super::{
    Allowance, Budget, Counts, DIRECTORY, OBJECT, Price, UNCOUNTED_OBJECTS, URL, directories_above,
    over, share,
};
use crate::purge::{Mode, PlannedPurge, PurgeKind};

/// Every directory that could be deleted for what is wanted, each after the one it is in.
pub(super) struct Tree {
    directories: Vec<Directory>,
    /// Wanted URLs that are in none of them.
    urls_outside: u64,
    /// Wanted directories that are in none of them.
    directories_outside: u64,
}

#[derive(Debug, Default)]
struct Directory {
    url: String,
    parent: Option<usize>,
    /// Wanted URLs in it, not counting those in directories below.
    urls: u64,
    /// How it is wanted itself.
    wanted: Option<Wanted>,
    /// Objects in it and below, as far as is known.
    objects: u64,
    /// How many of those are purged anyway.
    changed: u64,
}

/// A directory that is wanted itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Everything in it: whatever is below is covered already.
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

    /// Counts what each directory holds. One that nobody has counted holds what is wanted in it, some more,
    /// and what those below it hold, but never more than one that was counted above it.
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

    /// The directories to delete beyond those that are wanted so; none lies in another.
    pub(super) fn cheapest(
        &self,
        budget: &Budget,
        allowance: Allowance,
        wanted: &Counts,
    ) -> Vec<String> {
        let url = URL + share(budget.urls);
        let directory = DIRECTORY + share(allowance);
        let most = allowance
            .left
            .map_or(u64::MAX, |left| left.max(wanted.directories));
        let most_choosable = self.directories.len() as u64 + wanted.directories;
        let binding = Binding {
            urls: budget.urls.left.is_some_and(|left| wanted.urls > left),
            directories: (most < most_choosable).then_some(most),
        };

        let mut choices = Choices::default();
        let mut fronts: Vec<Front> = self
            .directories
            .iter()
            .map(|own| {
                let directories = u64::from(own.wanted == Some(Wanted::Flush));
                Front::of(Point {
                    directories,
                    urls: own.urls,
                    cost: own.urls * url + directories * directory,
                    choice: None,
                })
            })
            .collect();
        let mut whole = Front::of(Point {
            directories: self.directories_outside,
            urls: self.urls_outside,
            cost: self.urls_outside * url + self.directories_outside * directory,
            choice: None,
        });
        for (place, own) in self.directories.iter().enumerate().rev() {
            let mut front = fronts.pop().unwrap_or_default();
            let deleted = Point {
                directories: 1,
                urls: 0,
                cost: directory + own.objects.saturating_sub(own.changed) * OBJECT,
                choice: Some(choices.delete(place)),
            };
            if own.wanted == Some(Wanted::Delete) {
                front = Front::of(Point {
                    cost: directory,
                    choice: None,
                    ..deleted
                });
            } else {
                front.add(deleted, &binding);
            }
            let into = own.parent.and_then(|parent| fronts.get_mut(parent));
            into.unwrap_or(&mut whole)
                .join(&front, &mut choices, &binding);
        }
        let best = whole.points().iter().min_by_key(|point| Price {
            overflow: over(point.urls, budget.urls.left) + over(point.directories, allowance.left),
            cost: point.cost,
        });
        choices
            .places(best.and_then(|point| point.choice))
            .into_iter()
            .filter_map(|place| Some(self.directories.get(place)?.url.clone()))
            .collect()
    }
}
