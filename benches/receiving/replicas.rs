//! Replicas on one PostgreSQL, all on the one core: what another replica costs, and what the server does for each delivery.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::compare::{Figures, Scenario};
use crate::disk::Disk;
use crate::postgres::Cluster;
use crate::receivers::Receiver::{self, Base, Purgehook};
use crate::rules::{SITES, rules_of_sites};
use crate::support::block_on;
use crate::support::sender::Load;
use crate::support::server::{Server, cpu_in, move_to_first_core};
use crate::support::webhook::{Chain, Push};
use crate::whole::until_nothing_is_pending;

/// Until sessions and replicas have come to rest.
const REST: Duration = Duration::from_secs(1);

/// Places among the further figures.
const SERVER_CPU: usize = 0;
const WHOLE_CPU: usize = 1;
const WHOLE_SERVER_CPU: usize = 2;

pub fn scenarios(time: Duration) -> Vec<Scenario> {
    let scenario = |name, replicas: usize| Scenario {
        name,
        what: format!("7.9 kB over 64 connections to {replicas} on one PostgreSQL, observed"),
        receivers: vec![Base, Purgehook],
        most_rounds: 2,
        round: Box::new(move |receiver, folder: &Path| {
            block_on(round(receiver, folder, replicas, time))
        }),
        more: &["PostgreSQL us", "us to end", "PostgreSQL us to end"],
        bars: Vec::new(),
    };
    vec![scenario("pg1", 1), scenario("pg2", 2), scenario("pg4", 4)]
}

async fn round(receiver: Receiver, folder: &Path, count: usize, time: Duration) -> Figures {
    let cluster = Cluster::start_durable();
    let postgres = Postgres::of(&cluster);
    postgres.pin();
    let address = cluster.new_database().await;
    let rules = rules_of_sites(SITES, "observe");
    let disk = Disk::none();
    let replicas: Vec<Server> = (0..count)
        .map(|_| receiver.start_on(&address, folder, &rules, &disk))
        .collect();
    sleep(REST).await;
    let load = Load {
        connections: 64,
        rate: None,
        warm_up: Duration::ZERO,
        time,
        most: None,
        status: "202",
    };
    let (chain, push) = (Chain::new(SITES, load.connections), Push::default());
    let cpu = || -> Duration { replicas.iter().map(Server::cpu).sum() };
    let before = (cpu(), postgres.cpu());
    let sent = load
        .put_on(&replicas, |connection| chain.next(&push, connection))
        .await;
    let accepted = postgres.cpu() - before.1;
    until_nothing_is_pending(&replicas[0]).await;
    sleep(REST).await;

    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / sent.answered as f64;
    let memory = replicas.iter().map(|replica| replica.memory_kb("VmHWM"));
    let mut figures = Figures {
        per_second: sent.times.count() as f64 / time.as_secs_f64(),
        cpu_us: each(sent.used.cpu),
        p50_ms: sent.times.ms(0.5),
        p99_ms: sent.times.ms(0.99),
        memory_mb: memory.sum::<u64>() as f64 / 1_024.0,
        ..Figures::default()
    };
    figures.more[SERVER_CPU] = each(accepted);
    figures.more[WHOLE_CPU] = each(cpu() - before.0);
    figures.more[WHOLE_SERVER_CPU] = each(postgres.cpu() - before.1);
    figures
}

/// The processes of a server.
struct Postgres {
    /// The one that the others are children of.
    first: u32,
}

impl Postgres {
    fn of(cluster: &Cluster) -> Self {
        let path = Path::new(cluster.folder()).join("data/postmaster.pid");
        let text = std::fs::read_to_string(path).unwrap();
        Self {
            first: text.lines().next().unwrap().trim().parse().unwrap(),
        }
    }

    /// It shares the first core with the replicas, from its next session on.
    fn pin(&self) {
        move_to_first_core(self.first);
    }

    /// CPU time so far, of sessions that ended too.
    fn cpu(&self) -> Duration {
        let stat = |process: &str| std::fs::read_to_string(format!("/proc/{process}/stat"));
        let mut cpu = cpu_in(&stat(&self.first.to_string()).unwrap(), 4);
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let name = entry.file_name();
            let Some(process) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
                continue;
            };
            // It may have ended since.
            let Ok(stat) = stat(process) else { continue };
            let parent = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().nth(1));
            if parent == Some(&self.first.to_string()) {
                cpu += cpu_in(&stat, 2);
            }
        }
        cpu
    }
}
