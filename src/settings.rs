//! A YAML file as located values, and the reader that collects every problem in it.
//!
//! A [`Section`] is a mapping of the file. Each getter takes a key, notes a
//! problem (with line and column) if the value is not what it should be, and
//! returns nothing then; reading goes on, so that all problems are shown at
//! once. Keys that nobody asked for are noted when the section is dropped.
//!
//! [`File::root`] gives the outermost section, [`File::problems`] all that was found.

mod document;
mod entry;
mod environment;
mod file;
mod findings;
mod flaw;
mod problem;
mod secret_form;
mod secret_heuristics;
mod secrets;
mod section;
mod source;
mod span;
mod substitution;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod yaml;

pub use entry::{Entry, Variable};
pub use environment::Environment;
pub use file::File;
pub use problem::{Problem, Problems, Severity};
pub use section::Section;
pub use span::{Located, Span};
pub use suggest::did_you_mean;
