//! The store keeps its promises on every database: each test here runs on
//! SQLite and on PostgreSQL.

mod databases;
mod deliveries;
mod limits;
#[path = "../postgres/mod.rs"]
mod postgres;
mod purges;
mod runs;
mod work;
