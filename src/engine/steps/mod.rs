//! The steps, one file each.

pub mod follow;
pub mod missed_deliveries;
pub mod plan;
pub mod reconcile;
pub mod report;
pub mod retention;
pub mod settle;
pub mod submit;
