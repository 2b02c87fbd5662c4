//! A plan for people (a table) and for programs (JSON).

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use super::Plan;

impl Plan {
    /// `{"purges": [{"cdn", "kind", "target", "rule", "path"}]}`, with `"mode"` where a directory has one.
    pub fn to_json(&self) -> Value {
        let purges: Vec<Value> = self
            .purges
            .iter()
            .map(|purge| {
                let mut entry = Map::new();
                entry.insert("cdn".to_owned(), json!(purge.cdn));
                entry.insert("kind".to_owned(), json!(purge.kind.word()));
                entry.insert("target".to_owned(), json!(purge.target));
                entry.insert("rule".to_owned(), json!(purge.rule));
                entry.insert("path".to_owned(), json!(purge.path));
                if let Some(mode) = purge.mode {
                    entry.insert("mode".to_owned(), json!(mode.word()));
                }
                Value::Object(entry)
            })
            .collect();
        json!({ "purges": purges })
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
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}
