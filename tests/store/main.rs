//! The store keeps its promises on every database: each test here runs on
//! SQLite and on PostgreSQL.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod announcements;
mod databases;
mod deliveries;
mod limits;
mod planning_runs;
mod plans;
#[path = "../postgres/mod.rs"]
mod postgres;
mod purges;
mod removal;
mod runs;
mod upgrades;
mod upstreams;
mod work;
