//! The whole program: the real binary, started as a user starts it, between a
//! forge and a CDN that check everything (the sandbox), over real sockets and a
//! real database.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod books;
mod canaries;
mod check;
mod commands;
mod commit_kills;
mod costs;
mod crashes;
mod database_away;
mod docs;
mod door;
mod dry_run;
mod explain;
mod faults;
mod files;
mod hugo;
mod init;
mod large_bodies;
#[path = "../costs/limits.rs"]
mod limits;
mod names;
mod online;
mod outages;
mod payloads;
mod places;
mod plan;
#[path = "../postgres/mod.rs"]
mod postgres;
mod pushes;
mod rates;
mod reload;
mod replicas;
mod signing;
mod slow_disk;
mod ssrf;
mod start;
mod storm;
mod stranger;
mod surroundings;
mod sweep;
mod trigger;
mod world;
