//! How many of the steps in hand wait for the same outsider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Steps in hand, by crowd.
#[derive(Clone, Default)]
pub(super) struct Crowds(Arc<Mutex<BTreeMap<String, usize>>>);

/// A step's place in its crowd, until it is dropped.
pub(super) struct Place {
    crowds: Crowds,
    crowd: Option<String>,
}

impl Crowds {
    /// Takes a place. Who is of no crowd takes none.
    pub fn join(&self, crowd: Option<String>) -> Place {
        if let Some(crowd) = &crowd {
            let mut crowds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *crowds.entry(crowd.clone()).or_default() += 1;
        }
        Place {
            crowds: self.clone(),
            crowd,
        }
    }

    /// How many are in hand of each crowd.
    pub fn in_hand(&self) -> BTreeMap<String, usize> {
        let crowds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        crowds.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(crowd) = self.crowd.take() else {
            return;
        };
        let mut crowds = self.crowds.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(in_hand) = crowds.get_mut(&crowd) {
            *in_hand -= 1;
            if *in_hand == 0 {
                crowds.remove(&crowd);
            }
        }
    }
}
