//! The bodies of the fuzz targets. Each takes any bytes, and panics where the
//! program does what it must not.
//!
//! `tests/fuzz` calls the same functions on the seeds, so that they don't rot.

pub mod answering;
pub mod cdn_answers;
pub mod forge_answers;
pub mod forms;
pub mod globs;
pub mod payloads;
pub mod rules_file;
pub mod surroundings;
pub mod templates;
