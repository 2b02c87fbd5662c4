//! A plan for people (a table) and for programs (JSON).

use std::borrow::Cow;
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::Plan;
use crate::purge::PlannedPurge;
use crate::sanitize::is_steering;

#[derive(Serialize)]
struct Document<'p> {
    purges: Purges<'p>,
    summary: Value,
    problems: &'p [String],
    notes: &'p [String],
}

struct Purges<'p>(&'p [PlannedPurge]);

impl Serialize for Purges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Entry::of))
    }
}

#[derive(Serialize)]
struct Entry<'p> {
    cdn: &'p str,
    kind: &'static str,
    target: &'p str,
    rule: &'p str,
    path: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
}

impl<'p> Entry<'p> {
    fn of(purge: &'p PlannedPurge) -> Self {
        let PlannedPurge {
            cdn,
            kind,
            target,
            mode,
            rule,
            path,
        } = purge;
        Self {
            cdn,
            kind: kind.as_str(),
            target,
            rule,
            path: path.as_deref(),
            mode: mode.map(|mode| mode.as_str()),
        }
    }
}

impl Plan {
    /// `{"purges": [{"cdn", "kind", "target", "rule", "path"}], "summary", "problems", "notes"}`, with `"mode"` where a
    /// directory has one. It borrows from the plan: of a large one, JSON values would take more than the plan itself.
    pub fn document(&self, summary: Value) -> impl Serialize + '_ {
        Document {
            purges: Purges(&self.purges),
            summary,
            problems: &self.problems,
            notes: &self.notes,
        }
    }

    /// Writes the purges as a table, line by line: of a large plan, the table as a whole would take more than the
    /// plan itself.
    pub fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        if self.purges.is_empty() {
            return writeln!(out, "nothing to purge");
        }
        let mut widths = HEADER.map(str::len);
        for purge in &self.purges {
            for (width, cell) in widths.iter_mut().zip(cells(purge)) {
                *width = cell.width().max(*width).min(WIDEST);
            }
        }
        write_row(out, &HEADER.map(Cow::Borrowed), &widths)?;
        for purge in &self.purges {
            write_row(out, &cells(purge), &widths)?;
        }
        Ok(())
    }

    /// What could not be planned, and what is worth knowing; a line each.
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&format!("problem: {}\n", printable(problem)));
        }
        for note in &self.notes {
            text.push_str(&format!("note: {}\n", printable(note)));
        }
        text
    }
}

/// The most that a column is wide. What is longer stands out of it: a path may have any length, and lines
/// are padded to no more than 65,535.
const WIDEST: usize = 200;

const HEADER: [&str; 5] = ["CDN", "kind", "target", "rule", "path"];

fn cells(purge: &PlannedPurge) -> [Cow<'_, str>; 5] {
    let kind = purge.kind.as_str();
    [
        printable(&purge.cdn),
        match purge.mode {
            Some(mode) => format!("{kind} ({})", mode.as_str()).into(),
            None => kind.into(),
        },
        printable(&purge.target),
        printable(&purge.rule),
        printable(purge.path.as_deref().unwrap_or("-")),
    ]
}

/// A row, each cell but the last as wide as its column.
fn write_row(
    out: &mut impl Write,
    cells: &[Cow<'_, str>; 5],
    widths: &[usize; 5],
) -> io::Result<()> {
    let [first @ .., last] = cells;
    for (cell, width) in first.iter().zip(widths) {
        let padding = width.saturating_sub(cell.width());
        write!(out, " {cell}{:padding$} ", "")?;
    }
    writeln!(out, " {last}")
}

/// Paths come from outside: none may move a terminal's cursor.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return text.into();
    }
    let replaced = text.chars();
    replaced
        .map(|c| if is_steering(c) { '\u{FFFD}' } else { c })
        .collect()
}
