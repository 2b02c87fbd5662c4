//! The engine over days and many histories: real clients, a real database and
//! the sandbox, on a clock that the tests move, so that a day takes no time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod beginnings;
mod changes;
mod clocks;
mod costs;
mod covers;
mod denials;
mod dry_run;
mod failing;
mod histories;
#[path = "../costs/limits.rs"]
mod limits;
mod lost_pushes;
mod outages;
#[path = "../postgres/mod.rs"]
mod postgres;
mod previews;
mod pushes;
mod quota;
mod recovery;
mod redeployments;
mod refused;
mod renames;
mod replays;
mod retention;
mod several_cdns;
mod world;
