//! Positions in a settings file: bytes for the program, line and column for people.

use std::ops::Range;

use serde_yaml::Location;

/// A position in the file, in bytes.
pub type Span = Range<usize>;

/// A value with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its position.
    pub at: Span,
}

/// The line and the column (in characters) of a byte, both from 1.
pub(super) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    // A byte order mark has no column.
    let start = text.chars().next().filter(|c| *c == '\u{feff}');
    let start = start.map_or(0, char::len_utf8).min(before.len());
    let line_start = before.rfind('\n').map_or(start, |i| i + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// A position from the parser, in bytes. Some errors have only line and column.
pub(super) fn place(text: &str, location: Location) -> Span {
    let span = location.span();
    let number = |n: u64| usize::try_from(n).ok();
    match span.byte_offset().and_then(number) {
        Some(start) => {
            let start = start.min(text.len());
            let length = span.byte_len().and_then(number).unwrap_or(0);
            start..start.saturating_add(length).min(text.len())
        }
        None => {
            let number = |n: u64| number(n.saturating_sub(1)).unwrap_or(usize::MAX);
            let start = byte_at(text, number(location.line()), number(location.column()));
            start..start
        }
    }
}

/// The byte at a line and a column (in characters), both from 0.
fn byte_at(text: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for each in text.split_inclusive('\n').take(line) {
        start += each.len();
    }
    let rest = text.get(start..).unwrap_or_default();
    let within = rest.char_indices().nth(column).map(|(i, _)| i);
    start + within.unwrap_or(rest.len())
}
