//! What removing old runs costs those who work meanwhile, and how fast it goes: the real program on one core, and
//! on the other 20 pushes a second of a site that purges nothing, one every two seconds of a site with the sandbox's
//! GitHub and Tencent CDN, and somebody who looks at the pages.
//!
//! `cargo bench --bench retention`. `RETENTION_RUNS` (default 50,000) says how many runs are in the database that
//! ended a month ago, copies of one that purged three URLs; `RETENTION_DATABASE` is an empty PostgreSQL database, where
//! not SQLite is to be measured; `RETENTION_SECONDS` (default 20) says for how long the pushes go on;
//! `PURGEHOOK_BIN` measures another build. It needs Linux (`/proc`, `taskset`) and two cores.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on should say where"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use purgehook::clock::Clock;
use purgehook::http::Outbound;
use purgehook::sandbox::{Area, Change, Repository, Sandbox};
use support::figures::Times;
use support::past::Database;
use support::server::{self, Server};
use support::webhook::{Push, SECRET};
use tokio::sync::watch;

/// Between two pushes of the site that purges nothing.
const PACE: Duration = Duration::from_millis(50);
/// Between two of the other: GitHub takes 80 statuses a minute.
const PURGED_PACE: Duration = Duration::from_secs(2);
/// Between two looks at a page.
const LOOKS: Duration = Duration::from_millis(100);
const PAGES: [&str; 5] = ["/", "/?state=failed", "/api/v1/runs", "/metrics", "/readyz"];
/// How long anything may take that comes to an end by itself.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

#[tokio::main]
async fn main() {
    support::pin();
    let runs = support::number("RETENTION_RUNS", 50_000);
    let time = Duration::from_secs(support::number("RETENTION_SECONDS", 20));
    let world = World::new().await;
    world.first_run().await;
    let mut database = Database::open(&world.database, "www").await;
    println!("{}", server::program().display());

    database.copy_run(runs, 1).await;
    println!(
        "{runs} runs of a month ago: {}\n",
        world.size(&mut database).await
    );
    world.measure("all is kept", "0s", time).await.stop();
    let server = world.measure("while they are removed", "7d", time).await;

    let (began, cpu, before) = (Instant::now(), server.cpu(), world.removed(&server).await);
    while !database.is_rid_of_copies().await {
        assert!(began.elapsed() < PATIENCE, "they are not removed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (took, more) = (
        began.elapsed().as_secs_f64(),
        world.removed(&server).await - before,
    );
    println!(
        "the rest, alone: {:.0} runs a second, {:.1} % of a core, {} MB of memory at most; {}\n",
        more as f64 / took,
        (server.cpu() - cpu).as_secs_f64() / took * 100.0,
        server.memory_kb("VmHWM") / 1_024,
        world.size(&mut database).await,
    );
    server.stop();
    world.measure("when they are gone", "7d", time).await.stop();

    database.copy_run(runs, 1).await;
    println!("as many again: {}", world.size(&mut database).await);
}

/// Everything but the program.
struct World {
    sandbox: Sandbox,
    website: Repository,
    http: reqwest::Client,
    folder: tempfile::TempDir,
    database: String,
    began: Instant,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::start(Clock::system()).await.unwrap();
        let cdn = sandbox.tencent_cdn();
        cdn.add_domain("www.example.com", Area::Mainland);
        cdn.set_duration(Duration::from_millis(300));
        let website = sandbox.github().create_repo("acme/website", "main");
        website.commit("main", &[Change::write("index.html", "first")]);
        website.push("main");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("purgehook.db");
        let database = std::env::var("RETENTION_DATABASE")
            .unwrap_or_else(|_| format!("sqlite://{}", path.display()));
        Self {
            sandbox,
            website,
            http: Outbound::new(Clock::system()).unwrap().http,
            folder,
            database,
            began: Instant::now(),
        }
    }

    fn start(&self, retention: &str) -> Server {
        let (github, cdn) = (self.sandbox.github(), self.sandbox.tencent_cdn());
        let rules = format!(
            "
server: {{retention: {retention}}}
forges:
  github: {{kind: github, secrets: [{SECRET}], api_url: 'http://127.0.0.1:9'}}
  sandbox: {{kind: github, secrets: ['{}'], token: '{}', api_url: '{}'}}
cdns:
  cdn: {{kind: tencent-cdn, secret_id: '{}', secret_key: '{}', endpoint: '{}'}}
sites:
  busy:
    repo: github:acme/website
    base_urls: [https://www.example.com]
    cdns: [cdn]
    ignore: ['**']
    settle: 0s
    rules: [{{match: ['**'], urls: ['/{{path}}']}}]
  www:
    repo: sandbox:acme/website
    base_urls: [https://www.example.com]
    cdns: [cdn]
    rules: [{{match: ['**'], urls: ['/{{path}}']}}]
",
            github.webhook_secret(),
            github.token(),
            github.url(),
            cdn.secret_id(),
            cdn.secret_key(),
            cdn.url()
        );
        fs::write(self.folder.path().join("rules.yaml"), rules).unwrap();
        Server::purgehook(self.folder.path(), &self.database)
    }

    /// A run that ends well, as there will be many copies of.
    async fn first_run(&self) {
        let server = self.start("0s");
        let commit = self.push(&server, "first").await;
        self.success(&commit).await;
        // The status is noted as posted a moment later.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.stop();
    }

    /// Pushes three changed files; the commit.
    async fn push(&self, server: &Server, name: &str) -> String {
        let changes = ["a", "b", "c"].map(|file| Change::write(format!("{file}.html"), name));
        let commit = self.website.commit("main", &changes);
        let delivery = self.website.push("main").unwrap();
        let url = format!("http://{}/hooks/sandbox", server.address);
        let mut request = self.http.post(url).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        commit
    }

    async fn get(&self, server: &Server, page: &str) -> String {
        let url = format!("http://{}{page}", server.address);
        let answer = self.http.get(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{page}: {}", answer.status());
        answer.text().await.unwrap()
    }

    /// How many runs a program has removed, by its metrics.
    async fn removed(&self, server: &Server) -> u64 {
        let metrics = self.get(server, "/metrics").await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("purgehook_removed_total{what=\"run\"} "));
        line.unwrap().parse().unwrap()
    }

    /// Returns when a commit shows success.
    async fn success(&self, commit: &str) {
        let began = Instant::now();
        while self
            .website
            .statuses(commit)
            .last()
            .is_none_or(|status| status.state != "success")
        {
            assert!(began.elapsed() < PATIENCE, "no success");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Pushes and looks at pages for a while, with the program that retention is set for; it is still there afterwards.
    async fn measure(&self, name: &str, retention: &str, time: Duration) -> Server {
        let server = self.start(retention);
        let began = Instant::now();
        let (cpu, before) = (server.cpu(), self.removed(&server).await);
        let pushes = (0..time.as_secs() / PURGED_PACE.as_secs()).map(async |n| {
            let pushed = began + PURGED_PACE * u32::try_from(n).unwrap();
            tokio::time::sleep_until(pushed.into()).await;
            let commit = self.push(&server, &format!("{name} {n}")).await;
            self.success(&commit).await;
            pushed.elapsed()
        });
        let (over, ended) = watch::channel(false);
        let first = began.duration_since(self.began).as_micros() as u64;
        let push = Push::default();
        let busy = push.repeat(&server.address, first, "202", PACE, ended);
        let looks = async {
            let mut pages: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
            for page in PAGES.iter().cycle() {
                if began.elapsed() > time {
                    break;
                }
                let asked = Instant::now();
                self.get(&server, page).await;
                pages.entry(page).or_default().push(asked.elapsed());
                tokio::time::sleep(LOOKS).await;
            }
            over.send_replace(true);
            let (cpu, removed) = (server.cpu() - cpu, self.removed(&server).await - before);
            (pages, cpu, removed)
        };
        let (ends, answers, (pages, cpu, removed)) = tokio::join!(join_all(pushes), busy, looks);
        let seconds = time.as_secs_f64();
        println!(
            "{name}: {:.0} runs a second are removed, {:.0} % of a core; median / 99 % / longest",
            removed as f64 / seconds,
            cpu.as_secs_f64() / seconds * 100.0,
        );
        println!("  {:<16} {}", "push answered", Times::from(answers));
        for (page, times) in pages {
            println!("  {page:<16} {}", Times::from(times));
        }
        println!("  {:<16} {}\n", "push to success", Times::from(ends));
        server
    }

    /// What the database takes on disk.
    async fn size(&self, database: &mut Database) -> String {
        let mb = |path: &Path| fs::metadata(path).map_or(0, |file| file.len()) >> 20;
        match database.postgres_mb().await {
            Some(size) => format!("{size} MB"),
            None => format!(
                "{} MB, with a log of {} MB",
                mb(&self.folder.path().join("purgehook.db")),
                mb(&self.folder.path().join("purgehook.db-wal")),
            ),
        }
    }
}
