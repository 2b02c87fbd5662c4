//! A bounded cache that drops the least recently used value.

use std::borrow::Borrow;
use std::hash::Hash;
use std::num::NonZeroUsize;

/// A bounded cache. It has no lock of its own.
pub struct LruCache<K: Hash + Eq, V>(lru::LruCache<K, V>);

impl<K: Hash + Eq, V> LruCache<K, V> {
    /// An empty cache of at most `capacity` values, but at least one.
    pub fn new(capacity: usize) -> Self {
        // A cache created with a bound would allocate memory for all of it at once.
        let mut cache = lru::LruCache::unbounded();
        cache.resize(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN));
        Self(cache)
    }

    /// The value of a key, which becomes the most recently used one.
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(key)
    }

    /// Stores a value. Returns the value that it replaces, or that makes room for it.
    pub fn put(&mut self, key: K, value: V) -> Option<V> {
        self.0.push(key, value).map(|(_, left)| left)
    }

    /// Removes the value that was not used for longest.
    pub fn pop_oldest(&mut self) -> Option<V> {
        self.0.pop_lru().map(|(_, oldest)| oldest)
    }

    /// Removes the value of a key.
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

        assert_eq!(cache.put("c", 3), Some(2));

        assert_eq!(cache.get(&"a"), Some(&1));
        assert_eq!(cache.get(&"b"), None);
        assert_eq!(cache.put("c", 4), Some(3));
        assert_eq!(cache.pop_oldest(), Some(1));
    }
}
