//! The errors that stand behind ours: a database driver's, the HTTP client's.
//!
//! Our errors say in their own words what happened, causes included, since those words also stand on pages and commits.
//! What stands behind them is there for code that looks for it with [`Error::source`].

use std::error::Error;
use std::sync::Arc;

/// The error that stands behind one of ours, if one does. It holds no secret.
#[derive(Clone, Debug, Default)]
pub struct Cause(Option<Arc<dyn Error + Send + Sync>>);

impl Cause {
    /// No error stands behind it.
    pub const NONE: Self = Self(None);

    /// This one does.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(error)))
    }

    /// It, as [`Error::source`] gives it.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        let error = self.0.as_deref()?;
        Some(error)
    }
}

/// What an error says, and what those behind it add. What was said already is not said again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        let words = cause.to_string();
        if !said.contains(&words) {
            said.push_str(": ");
            said.push_str(&words);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Outer {
        words: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_chain_says_everything_once() {
        let chain_of = |words| {
            let source = io::Error::other("the disk is full");
            chain(&Outer { words, source })
        };

        assert_eq!(chain_of("cannot write"), "cannot write: the disk is full");
        assert_eq!(
            chain_of("cannot write: the disk is full; make room"),
            "cannot write: the disk is full; make room"
        );
    }
}
