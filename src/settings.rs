//! A YAML file as located values, and a reader that collects every problem in it.
//!
//! A [`Section`] is a mapping of the file. Each getter takes a key. If the value is invalid, it records a problem
//! (with line and column) and returns none; reading continues, so that all problems are reported at once. When a
//! section is dropped, it records the keys that were never read.
//!
//! [`File::root`] returns the outermost section, [`File::problems`] everything that was found.

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
