//! Prints tables of text, with columns as wide as a terminal shows their cells.

use std::borrow::Cow;
use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::sanitize::is_steering;

/// The widest column. Longer cells stick out: a path may have any length, and `format!` pads to at most 65,535.
const MAX_COLUMN_WIDTH: usize = 200;

/// Writes a table line by line. Calls `rows` twice, first for the widths: holding a large table in memory would
/// take more than its source data.
pub fn write<'r, const N: usize, R: Iterator<Item = [Cow<'r, str>; N]>>(
    out: &mut impl Write,
    header: &[&str; N],
    rows: impl Fn() -> R,
) -> io::Result<()> {
    let mut widths = header.map(str::len);
    for row in rows() {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = cell.width().max(*width).min(MAX_COLUMN_WIDTH);
        }
    }
    write_row(out, &header.map(Cow::Borrowed), &widths)?;
    for row in rows() {
        write_row(out, &row, &widths)?;
    }
    Ok(())
}

/// Writes a row, each cell except the last padded to its column's width.
fn write_row<const N: usize>(
    out: &mut impl Write,
    cells: &[Cow<'_, str>; N],
    widths: &[usize; N],
) -> io::Result<()> {
    for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if place + 1 == N {
            return writeln!(out, " {cell}");
        }
        let padding = width.saturating_sub(cell.width());
        write!(out, " {cell}{:padding$} ", "")?;
    }
    Ok(())
}

/// A cell's text without terminal control characters, since it may be foreign text.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return text.into();
    }
    let replaced = text.chars();
    replaced
        .map(|c| if is_steering(c) { '\u{FFFD}' } else { c })
        .collect()
}
