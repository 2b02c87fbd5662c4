//! What things cost as they grow: the same pushes and pages with nothing else, with a long past, and with many runs
//! in flight beside it. What is flat stays the same from one column to the next.
//!
//! `cargo bench --bench growth`. `GROWTH_SITES` (default 1,000) sites; `GROWTH_RUNS` (default 1,000,000) runs that
//! ended a month ago, spread over them, copies of one that purged three URLs; `GROWTH_IN_FLIGHT` (default 10,000)
//! pushes that a CDN which does not answer has to take; `GROWTH_DATABASE` is an empty PostgreSQL database, where not
//! SQLite is to be measured; `GROWTH_SECONDS` (default 10) says for how long pushes go on; `PURGEHOOK_BIN` measures
//! another build. It needs Linux (`/proc`, `taskset`), two cores, and 3 kB of disk for each run.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on should say where"
)]

mod support;

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use purgehook::clock::Clock;
use purgehook::sandbox::{Area, Change, Sandbox};
use serde_json::Value;
use support::figures::Times;
use support::past::Database;
use support::sender::Load;
use support::server::{self, Server};
use support::webhook::{Chain, Push, Request, SECRET, connect, read_answer, repo_name};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until};

/// Of the sites, those in dry-run mode: pushes to them are measured.
const MEASURED: usize = 100;
/// Between two measured pushes.
const PACE: Duration = Duration::from_millis(50);
/// Between two looks at a run that has not ended.
const LOOK: Duration = Duration::from_millis(5);
/// How often each page is looked at.
const LOOKS: usize = 40;
/// For how long a program is watched that nobody asks for anything.
const IDLE: Duration = Duration::from_secs(5);
/// Until it has looked around after its start.
const REST: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(600);

const PAGES: [&str; 8] = [
    "/",
    "/?state=failed",
    "/?site=site-7",
    "/api/v1/runs?limit=100",
    "/api/v1/runs?site=site-7&limit=100",
    "/api/v1/runs?state=pending&limit=100",
    "/metrics",
    "/readyz",
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    support::pin();
    let size = Size {
        sites: support::number("GROWTH_SITES", 1_000) as usize,
        runs: support::number("GROWTH_RUNS", 1_000_000),
        in_flight: support::number("GROWTH_IN_FLIGHT", 10_000),
        time: Duration::from_secs(support::number("GROWTH_SECONDS", 10)),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("purgehook.db");
    let address =
        std::env::var("GROWTH_DATABASE").unwrap_or_else(|_| format!("sqlite://{}", path.display()));
    println!("{}; {} sites", server::program().display(), size.sites);
    first_run(folder.path(), &address, &size).await;
    let mut world = World {
        folder,
        address,
        size,
        sent: 0,
    };

    let mut columns = vec![world.measure("nothing else").await];
    let began = Instant::now();
    let mut database = Database::open(&world.address, "site-0").await;
    database.copy_run(size.runs, size.sites as u64).await;
    drop(database);
    println!(
        "{} runs of a month ago, in {:.0?}",
        size.runs,
        began.elapsed()
    );
    columns.push(world.measure("a long past").await);
    world.send_in_flight().await;
    columns.push(world.measure("and many in flight").await);
    print(&columns);
}

/// How much there is.
#[derive(Clone, Copy)]
struct Size {
    sites: usize,
    runs: u64,
    in_flight: u64,
    time: Duration,
}

/// A run that ends well, as there will be many copies of: the first site's, between the sandbox's GitHub and CDN.
async fn first_run(folder: &std::path::Path, address: &str, size: &Size) {
    let sandbox = Sandbox::start(Clock::system()).await.unwrap();
    let (github, cdn) = (sandbox.github(), sandbox.tencent_cdn());
    cdn.add_domain("www.example.com", Area::Mainland);
    cdn.set_duration(Duration::from_millis(100));
    let repo = github.create_repo(&repo_name(0), "main");
    repo.commit("main", &[Change::write("index.html", "first")]);
    repo.push("main");
    let rules = rules_with(
        &format!(
            "
forges:
  github: {{kind: github, secrets: ['{}'], token: '{}', api_url: '{}'}}
cdns:
  cdn: {{kind: tencent-cdn, secret_id: '{}', secret_key: '{}', endpoint: '{}'}}
",
            github.webhook_secret(),
            github.token(),
            github.url(),
            cdn.secret_id(),
            cdn.secret_key(),
            cdn.url()
        ),
        size.sites.min(1),
    );
    fs::write(folder.join("rules.yaml"), rules).unwrap();
    let server = Server::purgehook(folder, address);
    sleep(REST).await;
    let changes = ["a", "b", "c"].map(|file| Change::write(format!("{file}.html"), "second"));
    let commit = repo.commit("main", &changes);
    let delivery = repo.push("main").unwrap();
    let base = format!("http://{}", server.address);
    let (status, answer) = delivery.send(&base).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let began = Instant::now();
    while repo
        .statuses(&commit)
        .last()
        .is_none_or(|status| status.state != "success")
    {
        assert!(began.elapsed() < PATIENCE, "no success");
        sleep(LOOK).await;
    }
    // The status is noted as posted a moment later.
    sleep(REST).await;
    server.stop();
    sandbox.stop().await;
}

/// So many sites, the last of them in dry-run mode.
fn rules_with(upstreams: &str, sites: usize) -> String {
    let mut rules = format!("server: {{retention: 0s}}\n{upstreams}sites:\n");
    for site in 0..sites {
        let repo = repo_name(site);
        let mode = if site + MEASURED >= sites && sites > 1 {
            "observe"
        } else {
            "live"
        };
        write!(
            rules,
            "  site-{site}:
    repo: github:{repo}
    base_urls: [https://www.example.com]
    cdns: [cdn]
    mode: {mode}
    settle: 0s
    rules: [{{match: ['**'], urls: ['/{{path}}']}}]
"
        )
        .unwrap();
    }
    rules
}

/// One column of the table: what was measured, each with its name.
struct Column {
    name: &'static str,
    rows: Vec<(String, String)>,
}

struct World {
    folder: tempfile::TempDir,
    address: String,
    size: Size,
    /// Pushes to measured sites so far.
    sent: usize,
}

impl World {
    /// Starts the program between a forge and a CDN that do not answer, so that nobody else's time is measured.
    fn start(&self) -> Server {
        let upstreams = format!(
            "
forges:
  github: {{kind: github, secrets: [{SECRET}], api_url: 'http://127.0.0.1:9'}}
cdns:
  cdn: {{kind: tencent-cdn, secret_id: i, secret_key: k, endpoint: 'http://127.0.0.1:9'}}
"
        );
        let rules = rules_with(&upstreams, self.size.sites);
        fs::write(self.folder.path().join("rules.yaml"), rules).unwrap();
        Server::purgehook(self.folder.path(), &self.address)
    }

    /// Pushes to all live sites, whose purges nobody takes.
    async fn send_in_flight(&self) {
        let server = self.start();
        let connections = 32;
        let live = self.size.sites - MEASURED;
        let load = Load {
            connections,
            rate: None,
            warm_up: Duration::ZERO,
            time: PATIENCE,
            most: Some(self.size.in_flight),
            status: "202",
        };
        let (chain, push) = (Chain::new(live, connections), Push::default());
        let began = Instant::now();
        load.put_on(std::slice::from_ref(&server), |connection| {
            chain.next(&push, connection)
        })
        .await;
        let took = began.elapsed();
        // Until it has planned what it can.
        let mut before = server.cpu();
        loop {
            sleep(IDLE).await;
            let cpu = server.cpu();
            if cpu - before < IDLE / 20 || began.elapsed() > PATIENCE {
                break;
            }
            before = cpu;
        }
        println!(
            "{} pushes in {took:.0?}, at rest after {:.0?}",
            self.size.in_flight,
            began.elapsed()
        );
        server.stop();
    }

    async fn measure(&mut self, name: &'static str) -> Column {
        let server = self.start();
        sleep(REST).await;
        let before = server.cpu();
        sleep(IDLE).await;
        let idle = (server.cpu() - before).div_f64(IDLE.as_secs_f64());
        let mut rows = vec![(
            "idle, % of a core".to_owned(),
            format!("{:.1}", idle.as_secs_f64() * 100.0),
        )];

        let (began, before) = (Instant::now(), server.cpu());
        let (answered, ended) = self.push(&server.address).await;
        sleep(REST).await;
        let used = server.cpu() - before;
        let used = used.saturating_sub(idle.mul_f64(began.elapsed().as_secs_f64()));
        let count = answered.count() as f64;
        rows.push(("a push is answered".to_owned(), answered.to_string()));
        rows.push(("from push to its plan".to_owned(), ended.to_string()));
        rows.push((
            "CPU of a push, ms".to_owned(),
            format!("{:.2}", used.as_secs_f64() * 1e3 / count),
        ));

        let mut stream = connect(&server.address).await;
        for page in PAGES {
            let mut times = Vec::new();
            for _ in 0..LOOKS {
                let asked = Instant::now();
                get(&mut stream, page).await;
                times.push(asked.elapsed());
            }
            rows.push((page.to_owned(), Times::from(times).to_string()));
        }
        rows.push((
            "memory, MB".to_owned(),
            (server.memory_kb("VmHWM") / 1_024).to_string(),
        ));
        server.stop();
        Column { name, rows }
    }

    /// Pushes to the measured sites in turn; how long it took until each was answered, and until its run had ended.
    async fn push(&mut self, address: &str) -> (Times, Times) {
        let (mut answered, mut ended) = (Vec::new(), Vec::new());
        let mut stream = connect(address).await;
        let first = self.size.sites - MEASURED;
        let began = Instant::now();
        while began.elapsed() < self.size.time {
            let repo = repo_name(first + self.sent % MEASURED);
            let push = Push {
                repo: &repo,
                ..Push::default()
            };
            let request = push.request((self.sent / MEASURED) as u64);
            self.sent += 1;
            let sent = Instant::now();
            let answer = ask(&mut stream, request).await;
            answered.push(sent.elapsed());
            let run = answer["runs"][0]["id"].as_str().unwrap().to_owned();
            let page = format!("/api/v1/runs/{run}");
            while get(&mut stream, &page).await["state"] == "pending" {
                assert!(sent.elapsed() < PATIENCE, "{page} does not end");
                sleep(LOOK).await;
            }
            ended.push(sent.elapsed());
            sleep_until((sent + PACE).into()).await;
        }
        (answered.into(), ended.into())
    }
}

/// The JSON behind an address; null where it is something else.
async fn get(stream: &mut TcpStream, page: &str) -> Value {
    let request = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ask(stream, request.into_bytes().into()).await
}

async fn ask(stream: &mut TcpStream, request: Request) -> Value {
    let mut answer = vec![0; 4 << 20];
    request.send(stream).await;
    let text = read_answer(stream, &mut answer).await;
    assert!(text.starts_with("HTTP/1.1 20"), "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_default()
}

fn print(columns: &[Column]) {
    println!("\nmedian / 99 % / longest");
    print!("{:<38}", "");
    for column in columns {
        print!("{:>26}", column.name);
    }
    println!();
    for (at, (name, _)) in columns[0].rows.iter().enumerate() {
        print!("{name:<38}");
        for column in columns {
            print!("{:>26}", column.rows[at].1);
        }
        println!();
    }
}
