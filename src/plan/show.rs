//! A plan for people (a table) and for programs (JSON).

use std::borrow::Cow;
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Plan, Problem};
use crate::purge::PlannedPurge;
use crate::table::{self, printable};

#[derive(Serialize)]
struct Document<'p> {
    purges: Purges<'p>,
    summary: Value,
    problems: Vec<&'p str>,
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
    /// `{"purges": [{"cdn", "kind", "target", "rule", "path"}], "summary", "problems", "notes"}`, with `"mode"` if
    /// a directory has one. It borrows from the plan: for a large one, JSON values would need more memory than the
    /// plan.
    pub fn document(&self, summary: Value) -> impl Serialize + '_ {
        Document {
            purges: Purges(&self.purges),
            summary,
            problems: self
                .problems
                .iter()
                .map(|problem| problem.words.as_str())
                .collect(),
            notes: &self.notes,
        }
    }

    /// Writes the purges as a table, line by line: for a large plan, the whole table would need more memory than
    /// the plan.
    pub fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        if self.purges.is_empty() {
            return writeln!(out, "nothing to purge");
        }
        table::write(out, &HEADER, || self.purges.iter().map(cells))
    }

    /// The problems and notes, one per line.
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        for Problem { words, .. } in &self.problems {
            text.push_str(&format!("problem: {}\n", printable(words)));
        }
        for note in &self.notes {
            text.push_str(&format!("note: {}\n", printable(note)));
        }
        text
    }
}

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
