//! Pushes to many sites over connections that are kept open: how many are taken in, and what each costs.

use std::path::Path;
use std::slice;
use std::time::Duration;

use crate::compare::{Bar, Figures, Scenario};
use crate::disk::Disk;
use crate::receivers::Receiver;
use crate::receivers::Receiver::{Bare, Base, Node, Plain, Purgehook};
use crate::rules::{SITES, rules_of_sites};
use crate::support::block_on;
use crate::support::sender::{Load, Sent};
use crate::support::server::Server;
use crate::support::webhook::{BODY, Chain, Push};

const WARM_UP: Duration = Duration::from_secs(1);
/// How much longer an fsync takes on the slow disk.
const SLOWER: Duration = Duration::from_millis(1);

/// Those who keep deliveries.
const KEEPERS: [Receiver; 4] = [Node, Plain, Base, Purgehook];
/// Those who only refuse.
const REFUSERS: [Receiver; 3] = [Bare, Base, Purgehook];

/// A load and what it is made of.
#[derive(Clone, Copy)]
struct Case {
    connections: usize,
    rate: Option<f64>,
    size: usize,
    slow: bool,
    secret: Option<&'static str>,
    forge: &'static str,
    /// What purgehook answers.
    status: &'static str,
}

const CASE: Case = Case {
    connections: 64,
    rate: None,
    size: BODY,
    slow: false,
    secret: None,
    forge: "github",
    status: "202",
};

pub fn scenarios(time: Duration) -> Vec<Scenario> {
    let scenario = |name, what: &str, case: Case, bars| Scenario {
        name,
        what: what.to_owned(),
        receivers: if case.status == "202" {
            KEEPERS.to_vec()
        } else {
            REFUSERS.to_vec()
        },
        most_rounds: u64::MAX,
        round: Box::new(move |receiver, folder: &Path| round(receiver, folder, case, time)),
        more: &[],
        bars,
    };
    let (one, sixteen) = (1, 16);
    vec![
        scenario(
            "c64",
            "7.9 kB over 64 connections",
            CASE,
            vec![
                Bar::Times(Node, 3.0),
                Bar::AtMostOf("p99", |figures| figures.p99_ms, Node, 0.5),
                Bar::AtMost("RSS in MB", |figures| figures.memory_mb, 35.0),
            ],
        ),
        scenario(
            "c1",
            "7.9 kB over one connection",
            Case {
                connections: one,
                ..CASE
            },
            vec![Bar::Times(Node, 1.1)],
        ),
        scenario(
            "open",
            "1,000 a second, whether they are answered or not; ratios are of CPU",
            Case {
                rate: Some(1_000.0),
                ..CASE
            },
            vec![Bar::AtMost("p99 in ms", |figures| figures.p99_ms, 10.0)],
        ),
        scenario(
            "slow64",
            "a disk whose fsync takes 1 ms longer, 64 connections",
            Case { slow: true, ..CASE },
            vec![Bar::Times(Node, 6.0)],
        ),
        scenario(
            "slow1",
            "the same, over one connection",
            Case {
                slow: true,
                connections: one,
                ..CASE
            },
            vec![],
        ),
        scenario(
            "200kb",
            "200 kB over 16 connections",
            Case {
                size: 200_000,
                connections: sixteen,
                ..CASE
            },
            vec![Bar::Times(Node, 2.5)],
        ),
        scenario(
            "forged",
            "signed with another secret; the bare server reads and throws away",
            Case {
                secret: Some("another secret"),
                status: "401",
                ..CASE
            },
            vec![Bar::Times(Bare, 0.8)],
        ),
        scenario(
            "unknown",
            "for a forge that the rules do not name",
            Case {
                forge: "elsewhere",
                status: "404",
                ..CASE
            },
            vec![Bar::Times(Bare, 0.8)],
        ),
    ]
}

fn round(receiver: Receiver, folder: &Path, case: Case, time: Duration) -> Figures {
    let disk = Disk::of(folder, if case.slow { SLOWER } else { Duration::ZERO });
    let rules = rules_of_sites(SITES, "observe");
    let server = receiver.start(folder, &rules, &disk);
    let mut push = Push {
        size: case.size,
        forge: case.forge,
        ..Push::default()
    };
    push.secret = case.secret.unwrap_or(push.secret);
    let load = Load {
        connections: case.connections,
        rate: case.rate,
        warm_up: WARM_UP,
        time,
        most: None,
        status: if receiver == Bare { "200" } else { case.status },
    };
    let chain = Chain::new(SITES, case.connections);
    let sent = block_on(load.put_on(slice::from_ref(&server), |connection| {
        chain.next(&push, connection)
    }));
    figures(&server, &sent, time)
}

fn figures(server: &Server, sent: &Sent, time: Duration) -> Figures {
    let count = sent.times.count() as f64;
    Figures {
        per_second: count / time.as_secs_f64(),
        cpu_us: sent.used.cpu.as_secs_f64() * 1e6 / count,
        p50_ms: sent.times.ms(0.5),
        p99_ms: sent.times.ms(0.99),
        memory_mb: server.memory_kb("VmHWM") as f64 / 1_024.0,
        written_kb: sent.used.written as f64 / 1e3 / count,
        ..Figures::default()
    }
}
