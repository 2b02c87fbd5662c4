//! A cache with a bound: of more values than fit, the least recently used is dropped.

use std::hash::Hash;
use std::num::NonZeroUsize;

/// A cache of at most so many values. Nothing is locked here: whoever shares one locks it.
pub struct LruCache<K: Hash + Eq, V>(lru::LruCache<K, V>);

impl<K: Hash + Eq, V> LruCache<K, V> {
    /// An empty cache of at most `capacity` values, and of one at least.
    pub fn new(capacity: usize) -> Self {
        // One that is made with a bound takes the memory for all of it at once.
        let mut cache = lru::LruCache::unbounded();
        cache.resize(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN));
        Self(cache)
    }

    /// The value of a key, which is the most recently used one from then on.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    /// Keeps a value, in the place of an older one of the same key.
    pub fn put(&mut self, key: K, value: V) {
        self.0.put(key, value);
    }

    /// Drops the value of a key.
    pub fn remove(&mut self, key: &K) {
        self.0.pop(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_was_not_used_for_longest_makes_room() {
        let mut cache = LruCache::new(2);
        cache.put("a", 1);
        cache.put("b", 2);
        cache.get(&"a");

        cache.put("c", 3);

        assert_eq!(cache.get(&"a"), Some(&1));
        assert_eq!(cache.get(&"b"), None);
        assert_eq!(cache.get(&"c"), Some(&3));
    }
}
