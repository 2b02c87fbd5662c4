//! The leases of the steps that this process is running.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::Lease;

/// How long a claimed step may run without a renewal before another process may claim it.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// The leases of all running steps.
#[derive(Clone, Default)]
pub(super) struct Leases(Arc<Mutex<Vec<Lease>>>);

/// A running step's lease. Dropping the guard marks the step as ended.
pub(super) struct LeaseGuard {
    leases: Leases,
    lease: Lease,
}

impl Leases {
    /// Marks a lease as running until the guard is dropped.
    pub fn hold(&self, lease: &Lease) -> LeaseGuard {
        self.lock().push(lease.clone());
        LeaseGuard {
            leases: self.clone(),
            lease: lease.clone(),
        }
    }

    /// The leases of all steps that are running now.
    pub fn running(&self) -> Vec<Lease> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.leases.lock().retain(|lease| *lease != self.lease);
    }
}
