//! What the origin serves, and what the CDNs' caches keep of it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use purgehook::purge::PurgeKind;

/// A path's content in each file of a tree: a number that no other content has.
pub type Tree = BTreeMap<String, u64>;

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
    /// The trees that the origin serves, each from a moment on.
    served: BTreeMap<Timestamp, Tree>,
    /// What each cache answers; none for "not found".
    held: BTreeMap<Page, Option<u64>>,
    /// What is going to happen, in the order in which it does.
    effects: BTreeMap<(Timestamp, u64), Effect>,
    count: u64,
}

/// The origin and all caches.
#[derive(Default)]
pub struct Caches(Mutex<State>);

impl Caches {
    /// From `at` on the origin serves a tree.
    pub fn serve(&self, at: Timestamp, tree: &Tree) {
        let mut state = self.0.lock().unwrap();
        // What was on its way to the origin is overtaken.
        let _ = state.served.split_off(&at);
        state.served.insert(at, tree.clone());
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
        state.fill(now, cdn, url);
    }

    /// What caches hold that the tree does not, if anything.
    pub fn stale(&self, now: Timestamp, live: &Tree) -> Vec<String> {
        let mut state = self.0.lock().unwrap();
        state.catch_up(now);
        state
            .held
            .iter()
            .filter(|((_, url), held)| live.get(path_of(url)) != held.as_ref())
            .map(|((cdn, url), held)| {
                format!(
                    "{cdn} holds {held:?} for {url}, which is {:?}",
                    live.get(path_of(url))
                )
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
                PurgeKind::Prefetch => self.fill(at, &effect.cdn, &effect.target),
            }
        }
    }

    fn fill(&mut self, at: Timestamp, cdn: &str, url: &str) {
        let Some((_, tree)) = self.served.range(..=at).next_back() else {
            return;
        };
        let served = tree.get(path_of(url)).copied();
        let page = (cdn.to_owned(), url.to_owned());
        self.held.entry(page).or_insert(served);
    }
}

/// A URL's path without the slash at its beginning.
fn path_of(url: &str) -> &str {
    url.splitn(4, '/').nth(3).unwrap_or_default()
}
