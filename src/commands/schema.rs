//! `purgehook schema`: the JSON Schema of rules.yaml, for editors.

use std::process::ExitCode;

/// The schema, as in the repository.
pub const SCHEMA: &str = include_str!("../../schema/rules.schema.json");

/// Prints the schema.
pub fn run() -> ExitCode {
    print!("{SCHEMA}");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
