//! What the origin serves, and what the CDNs' caches keep of it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use purgehook::purge::PurgeKind;

/// A path's content in each file of a tree: a number that no other content has.
pub type Tree = BTreeMap<String, u64>;

/// A time for which the origin served one build of a commit.
#[derive(Clone)]
pub struct Stint {
    pub since: Timestamp,
    pub commit: String,
    /// The commit's files.
    pub tree: Tree,
    /// What was built from them, which is served.
    pub built: Tree,
}

/// A page of a cache whose content is not what is live.
pub struct Stale {
    pub cdn: String,
    pub url: String,
    /// None for "not found".
    pub content: Option<u64>,
    /// The place of the stint in which the cache took it.
    pub taken_in: usize,
}

/// Something that a CDN does to its caches.
#[derive(Clone, Debug)]
pub struct Effect {
    pub cdn: String,
    pub kind: PurgeKind,
    pub target: String,
}

/// Names a cached page: the CDN, and its URL.
type Page = (String, String);

#[derive(Default)]
struct State {
    /// What the origin served, oldest first.
    stints: Vec<Stint>,
    /// What each cache answers, none for "not found", and in which stint it took that.
    held: BTreeMap<Page, (Option<u64>, usize)>,
    /// What is going to happen, in the order in which it does.
    effects: BTreeMap<(Timestamp, u64), Effect>,
    count: u64,
}

/// The origin and all caches.
#[derive(Default)]
pub struct Caches(Mutex<State>);

impl Caches {
    /// From now on the origin serves what was built from a commit.
    pub fn serve(&self, now: Timestamp, commit: &str, tree: &Tree, built: Tree) {
        let mut state = self.0.lock().unwrap();
        state.catch_up(now);
        state.stints.push(Stint {
            since: now,
            commit: commit.to_owned(),
            tree: tree.clone(),
            built,
        });
    }

    /// Something is going to happen to the caches.
    pub fn will(&self, at: Timestamp, effect: Effect) {
        let mut state = self.0.lock().unwrap();
        state.count += 1;
        let count = state.count;
        state.effects.insert((at, count), effect);
    }

    /// Visitors ask a CDN for a page.
    pub fn visit(&self, now: Timestamp, cdn: &str, url: &str) {
        let mut state = self.0.lock().unwrap();
        state.catch_up(now);
        state.fill(cdn, url);
    }

    /// What the origin served, oldest first.
    pub fn stints(&self) -> Vec<Stint> {
        self.0.lock().unwrap().stints.clone()
    }

    /// What caches hold that is not live.
    pub fn stale(&self, now: Timestamp) -> Vec<Stale> {
        let mut state = self.0.lock().unwrap();
        state.catch_up(now);
        let Some(live) = state.stints.last() else {
            return Vec::new();
        };
        state
            .held
            .iter()
            .filter(|((_, url), (content, _))| live.built.get(path_of(url)) != content.as_ref())
            .map(|((cdn, url), (content, taken_in))| Stale {
                cdn: cdn.clone(),
                url: url.clone(),
                content: *content,
                taken_in: *taken_in,
            })
            .collect()
    }
}

impl State {
    /// Lets everything happen whose time has come.
    fn catch_up(&mut self, now: Timestamp) {
        while let Some(first) = self.effects.first_entry() {
            let (at, _) = *first.key();
            if at > now {
                return;
            }
            let effect = first.remove();
            match effect.kind {
                PurgeKind::Url => {
                    self.held.remove(&(effect.cdn, effect.target));
                }
                PurgeKind::Directory => self
                    .held
                    .retain(|(cdn, url), _| *cdn != effect.cdn || !url.starts_with(&effect.target)),
                PurgeKind::Prefetch => self.fill(&effect.cdn, &effect.target),
            }
        }
    }

    fn fill(&mut self, cdn: &str, url: &str) {
        let Some(live) = self.stints.last() else {
            return;
        };
        let served = live.built.get(path_of(url)).copied();
        let page = (cdn.to_owned(), url.to_owned());
        let stint = self.stints.len() - 1;
        self.held.entry(page).or_insert((served, stint));
    }
}

/// A URL's path without the slash at its beginning.
pub fn path_of(url: &str) -> &str {
    url.splitn(4, '/').nth(3).unwrap_or_default()
}
