//! The text of a settings file and positions in it.

use std::path::{Path, PathBuf};

use super::span::{Span, line_and_column};

/// A settings file as it was passed in.
pub(super) struct Source {
    /// Its path.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The directory that `<key>_file` paths are relative to.
    pub fn directory(&self) -> PathBuf {
        let directory = Path::new(&self.name).parent();
        directory.map(Path::to_path_buf).unwrap_or_default()
    }

    /// Finds a part of a scalar, from byte `from` on. Returns the position of the whole scalar if escapes or line
    /// breaks hide the part.
    pub fn find(&self, part: &str, from: usize, scalar: &Span) -> Span {
        self.text
            .get(from..scalar.end)
            .and_then(|text| text.find(part))
            .map_or_else(|| scalar.clone(), |i| from + i..from + i + part.len())
    }

    /// Moves a position into the file and to character boundaries.
    pub fn clip(&self, at: Span) -> Span {
        let floor = |i: usize| {
            (0..=i.min(self.text.len()))
                .rev()
                .find(|i| self.text.is_char_boundary(*i))
                .unwrap_or(0)
        };
        let start = floor(at.start);
        start..floor(at.end).max(start)
    }

    /// The line and the column (in characters) of a byte, both from 1.
    pub fn line_and_column(&self, byte: usize) -> (usize, usize) {
        line_and_column(&self.text, byte)
    }

    /// Every position at which a text occurs.
    pub fn places_of(&self, written: &str) -> Vec<Span> {
        let found = self.text.match_indices(written);
        found.map(|(at, part)| at..at + part.len()).collect()
    }
}
