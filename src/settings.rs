//! A YAML file as located values, and the reader that collects every problem in it.
//!
//! A [`Section`] is a mapping of the file. Each getter takes a key, notes a
//! problem (with line and column) if the value is not what it should be, and
//! returns nothing then; reading goes on, so that all problems are shown at
//! once. Keys that nobody asked for are noted when the section is dropped.
//!
//! [`File::root`] gives the outermost section, [`File::problems`] all that was found.

mod file;
mod meant;
mod problem;
mod secrets;
mod section;
mod substitution;
mod suspects;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod yaml;

pub use file::{Environment, File};
pub use meant::did_you_mean;
pub use problem::{Problem, Problems, Severity};
pub use section::Section;
pub use tree::{Located, Span};
