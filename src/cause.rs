//! The source errors of our own errors, such as those of a database driver or the HTTP client.
//!
//! The text of our errors already includes the causes, since it appears on pages and commits. [`Error::source`]
//! gives code access to the original error.

use std::error::Error;
use std::sync::Arc;

/// The source of an error, if it has one. Contains no secret.
#[derive(Clone, Debug, Default)]
pub struct Cause(Option<Arc<dyn Error + Send + Sync>>);

impl Cause {
    /// No source.
    pub const NONE: Self = Self(None);

    /// The given error as the source.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(error)))
    }

    /// The source, as for [`Error::source`].
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        let error = self.0.as_deref()?;
        Some(error)
    }
}

/// The texts of an error and its sources, without repetitions.
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
