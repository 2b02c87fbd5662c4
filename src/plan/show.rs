//! A plan for people (a table) and for programs (JSON).

use comfy_table::{ContentArrangement, Table, presets};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Plan;
use crate::purge::PlannedPurge;
use crate::quote::is_steering;

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
            kind: kind.word(),
            target,
            rule,
            path: path.as_deref(),
            mode: mode.map(|mode| mode.word()),
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

    /// The purges as a table.
    pub fn to_table(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(["CDN", "kind", "target", "rule", "path"]);
        for purge in &self.purges {
            let kind = match purge.mode {
                Some(mode) => format!("{} ({})", purge.kind.word(), mode.word()),
                None => purge.kind.word().to_owned(),
            };
            table.add_row([
                printable(&purge.cdn),
                kind,
                printable(&purge.target),
                printable(&purge.rule),
                printable(purge.path.as_deref().unwrap_or("-")),
            ]);
        }
        if self.purges.is_empty() {
            "nothing to purge\n".to_owned()
        } else {
            format!("{table}\n")
        }
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

/// Paths come from outside: none may move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_steering(c) { '\u{FFFD}' } else { c })
        .collect()
}
