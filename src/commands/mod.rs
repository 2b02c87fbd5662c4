//! One module a verb of the command line, wiring only.

pub mod check;
