//! The names of the simulated services.

use std::fmt;

/// A simulated service, by its `kind:` in a rules file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service(&'static str);

impl Service {
    pub(super) const fn new(kind: &'static str) -> Self {
        Self(kind)
    }

    /// Its `kind:` in a rules file.
    pub fn kind(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
