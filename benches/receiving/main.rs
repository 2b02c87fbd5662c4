//! What taking webhooks in costs, beside a Node receiver and a plain program, in interleaved rounds.
//!
//! ```sh
//! cargo bench --bench receiving                  # all of it
//! cargo bench --bench receiving -- c64 dry_run   # those with such a word in their name:
//!   # c64 c1 open slow64 slow1 200kb forged unknown dry_run live storm 24mb idle pg1 pg2 pg4
//! PURGEHOOK_BIN=...       # the build that is measured; otherwise the bench's own
//! PURGEHOOK_BIN_BASE=...  # another one, measured in the same rounds
//! RECEIVING_SECONDS=3 RECEIVING_ROUNDS=3         # for each receiver in each round, and how many rounds
//! RECEIVING_ONLY=purgehook,base                  # only these receivers
//! RECEIVING_DISK=/dev/shm RECEIVING_FSYNC_US=150 # on memory whose fsync takes 150 us: a disk that no neighbour uses
//! ```
//!
//! It needs Linux (`/proc`, `taskset`), two cores, a C compiler for a slower disk, npm for Node's
//! receiver, which is left out where it cannot be had, and PostgreSQL for `pg1` and the others. The receiver gets the first core, the sender (and the
//! forge and the CDN, where there are any) the second. Compare only what was measured together.
//!
//! Pushes are of GitHub's shape, signed, all different, to 64 sites in turn; each goes from where its site's
//! last one ended. purgehook plans what it accepts meanwhile. *Node* ([`node`]) has the forge's own library and SQLite;
//! *plain* ([`plain`]) checks the signature, parses the body and keeps it, all that wait in one commit. All
//! have every delivery on disk before they answer.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on should say where"
)]

mod compare;
mod disk;
mod idle;
mod large;
mod load;
mod node;
mod plain;
#[path = "../../tests/postgres/mod.rs"]
mod postgres;
mod receivers;
mod replicas;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod whole;

use std::time::Duration;

fn main() {
    match receivers::child().as_deref() {
        Some("plain") => return plain::serve(),
        Some("bare") => return plain::serve_bare(),
        Some(other) => panic!("no receiver is called {other}"),
        None => {}
    }
    let time = Duration::from_secs(support::number("RECEIVING_SECONDS", 3));
    let rounds = support::number("RECEIVING_ROUNDS", 3);
    support::pin();
    println!(
        "{rounds} rounds of {} s; medians, and medians of the ratios within a round; {}",
        time.as_secs(),
        support::server::program().display()
    );
    let scenarios = [
        load::scenarios(time),
        whole::scenarios(time),
        large::scenarios(time),
        idle::scenarios(),
        replicas::scenarios(time),
    ];
    for scenario in scenarios.into_iter().flatten() {
        if support::is_wanted(scenario.name) {
            scenario.run(rounds);
        }
    }
}
