//! Pushes on their whole way: what each costs until nothing is left to do for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::slice;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use purgehook::clock::Clock;
use purgehook::sandbox::{Area, Change, Delivery, Repository, Sandbox};

use crate::compare::{Bar, Figures, Scenario};
use crate::disk::Disk;
use crate::receivers::Receiver::{self, Base, Purgehook};
use crate::rules::{SITES, host, rules_in_sandbox, rules_of_sites};
use crate::support::block_on;
use crate::support::figures::Times;
use crate::support::sender::{Load, Sent};
use crate::support::server::{Server, Usage};
use crate::support::webhook::{Chain, Push, Request, Turns, connect, read_answer, repo_name};

/// When to give up on what should end by itself.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the program may rest before what it used is counted: statuses are noted as posted a moment later.
const REST: Duration = Duration::from_secs(1);
/// How long the CDN takes for what it accepted.
const PURGE_TIME: Duration = Duration::from_millis(300);

const DRY_RUN_RATE: f64 = 150.0;
const LIVE_RATE: f64 = 70.0;
const LIVE_SITES: usize = 30;
/// Of each site, that pushes are for.
const PAGES: usize = 100;
const STORM_SITES: usize = 8;
const STORM_PUSHES: u64 = 1_000;

pub fn scenarios(time: Duration) -> Vec<Scenario> {
    let paced = move |connections, rate| Load {
        connections,
        rate,
        warm_up: Duration::ZERO,
        time,
        most: None,
        status: "202",
    };
    let live = move |receiver, folder: &Path| {
        let load = paced(LIVE_SITES, Some(LIVE_RATE));
        block_on(live_round(receiver, folder, LIVE_SITES, load))
    };
    let storm = move |receiver, folder: &Path| {
        let load = Load {
            time: PATIENCE,
            most: Some(STORM_PUSHES),
            ..paced(STORM_SITES, None)
        };
        block_on(live_round(receiver, folder, STORM_SITES, load))
    };
    vec![
        Scenario {
            name: "dry_run",
            what: format!("{DRY_RUN_RATE} pushes a second in dry-run mode, until idle"),
            receivers: vec![Base, Purgehook],
            most_rounds: u64::MAX,
            round: Box::new(move |receiver, folder: &Path| {
                let load = paced(16, Some(DRY_RUN_RATE));
                block_on(dry_round(receiver, folder, load))
            }),
            more: &[],
            bars: Vec::new(),
        },
        Scenario {
            name: "live",
            what: format!(
                "{LIVE_RATE} pushes a second to {LIVE_SITES} sites, to their final status"
            ),
            receivers: vec![Base, Purgehook],
            most_rounds: u64::MAX,
            round: Box::new(live),
            more: &["to CDN p50", "to end p50", "to end p99"],
            bars: vec![Bar::AtMost("CPU in us", |figures| figures.cpu_us, 1_500.0)],
        },
        Scenario {
            name: "storm",
            what: format!(
                "{STORM_PUSHES} pushes to {STORM_SITES} sites as fast as they are taken, to their final status"
            ),
            receivers: vec![Base, Purgehook],
            most_rounds: u64::MAX,
            round: Box::new(storm),
            more: &["to CDN p50", "to end p50", "to end p99"],
            bars: vec![Bar::AtMost("CPU in us", |figures| figures.cpu_us, 600.0)],
        },
    ]
}

async fn dry_round(receiver: Receiver, folder: &Path, load: Load) -> Figures {
    let server = receiver.start(
        folder,
        &rules_of_sites(SITES, "observe"),
        &Disk::as_it_is(folder),
    );
    rest().await;
    let (chain, push) = (Chain::new(SITES, load.connections), Push::default());
    let before = server.usage();
    let sent = load
        .put_on(slice::from_ref(&server), |connection| {
            chain.next(&push, connection)
        })
        .await;
    until_nothing_is_pending(&server).await;
    rest().await;
    figures(&server, &sent, server.usage() - before)
}

/// A push that was made, and when.
struct Pushed {
    repo: Repository,
    commit: String,
    url: String,
    at: Timestamp,
}

async fn live_round(receiver: Receiver, folder: &Path, sites: usize, load: Load) -> Figures {
    let sandbox = Sandbox::start(Clock::system()).await.unwrap();
    sandbox.lift_github_limits();
    let cdn = sandbox.tencent_cdn();
    cdn.set_duration(PURGE_TIME);
    let repos: Vec<Repository> = (0..sites)
        .map(|site| {
            cdn.add_domain(&host(site), Area::Mainland);
            let repo = sandbox.github().create_repo(&repo_name(site), "main");
            repo.commit("main", &[Change::write("content/_index.md", "first")]);
            repo.push("main");
            repo
        })
        .collect();
    let server = receiver.start(
        folder,
        &rules_in_sandbox(sites, &sandbox),
        &Disk::as_it_is(folder),
    );
    // It looks at what is live first.
    rest().await;
    rest().await;

    let pushed: RefCell<Vec<Pushed>> = RefCell::default();
    let turns = Turns::new(sites, load.connections);
    let next = |connection| {
        let mut pushed = pushed.borrow_mut();
        let (site, number) = turns.next(connection);
        let repo = &repos[site];
        // A page of its own for each push, as far as there are pages.
        let page = number % PAGES;
        let change = Change::write(format!("content/page-{page}.md"), format!("{number}"));
        let commit = repo.commit("main", &[change]);
        pushed.push(Pushed {
            repo: repo.clone(),
            commit,
            url: format!("https://{}/page-{page}/", host(site)),
            at: Timestamp::now(),
        });
        request_of(&repo.push("main").unwrap())
    };
    let before = server.usage();
    let sent = load.put_on(slice::from_ref(&server), next).await;
    let pushed = pushed.into_inner();
    let ends = ends(&pushed).await;
    rest().await;
    let used = server.usage() - before;

    let mut taken: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for purged in cdn.purged() {
        taken.entry(purged.target).or_default().push(purged.at);
    }
    let to_cdn = pushed.iter().filter_map(|push| {
        let of_it = taken.get(&push.url)?;
        let first = of_it.iter().find(|at| **at >= push.at)?;
        first.duration_since(push.at).try_into().ok()
    });
    let to_cdn = Times::from(to_cdn.collect::<Vec<Duration>>());
    let mut figures = figures(&server, &sent, used);
    figures.more[..3].copy_from_slice(&[to_cdn.ms(0.5), ends.ms(0.5), ends.ms(0.99)]);
    sandbox.stop().await;
    figures
}

/// Waits until each commit shows how it ended; how long that took each.
async fn ends(pushed: &[Pushed]) -> Times {
    let began = Instant::now();
    let mut times = Vec::new();
    for push in pushed {
        let last = loop {
            let last = push.repo.statuses(&push.commit).pop();
            if let Some(last) = last.filter(|status| status.state != "pending") {
                break last;
            }
            assert!(began.elapsed() < PATIENCE, "a commit has no final status");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(last.state, "success", "{:?}", last.description);
        times.push(
            last.at
                .duration_since(push.at)
                .try_into()
                .unwrap_or_default(),
        );
    }
    times.into()
}

pub async fn until_nothing_is_pending(server: &Server) {
    let began = Instant::now();
    let mut stream = connect(&server.address).await;
    let mut answer = vec![0; 64 * 1024];
    let request = "GET /api/v1/runs?state=pending&limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    loop {
        let ask = Request::from(request.as_bytes().to_vec());
        ask.send(&mut stream).await;
        let text = read_answer(&mut stream, &mut answer).await;
        if text.contains(r#""runs":[]"#) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "runs do not end: {text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn rest() {
    tokio::time::sleep(REST).await;
}

fn request_of(delivery: &Delivery) -> Request {
    let mut request = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", delivery.path);
    for (name, value) in &delivery.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", delivery.body.len()));
    let mut request = request.into_bytes();
    request.extend_from_slice(&delivery.body);
    request.into()
}

fn figures(server: &Server, sent: &Sent, used: Usage) -> Figures {
    let count = sent.answered as f64;
    Figures {
        per_second: count / sent.took.as_secs_f64(),
        cpu_us: used.cpu.as_secs_f64() * 1e6 / count,
        p50_ms: sent.times.ms(0.5),
        p99_ms: sent.times.ms(0.99),
        memory_mb: server.memory_kb("VmHWM") as f64 / 1_024.0,
        written_kb: used.written as f64 / 1e3 / count,
        ..Figures::default()
    }
}
