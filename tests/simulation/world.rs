//! A world made from a seed: what happens in it, and what must be so in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use purgehook::cdn::{Limit, Limits};
use purgehook::clock::Clock;
use purgehook::config::{self, ALL_KINDS, Config, Reach};
use purgehook::engine::{Engine, Received};
use purgehook::forge::Headers;
use purgehook::http::Outside;
use purgehook::purge::PurgeKind;
use purgehook::run::{Run, RunId, RunState};
use purgehook::settings::Environment;
use purgehook::store::{RunFilter, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::caches::{Caches, Tree};
use crate::cdn::{Account, History, Nature};
use crate::database::{Disk, Opened};
use crate::forge::{Delivery, Host};
use crate::process::{Chance, Process, Time};
use crate::promises::Promises;
use crate::trace::Trace;
use crate::{cdn, forge};

const CDN: &str = "edge";
const CONTEXT: &str = "purgehook/www";
const PATHS: [&str; 5] = [
    "a.html",
    "b.html",
    "c.html",
    "css/site.css",
    "css/print.css",
];

/// The rules as a user would write them; the clients are replaced by the world's.
const RULES: &str = r#"
server: {public_url: "http://127.0.0.1:8080"}
forges:
  host: {kind: github, secrets: ["a-secret-of-the-world"], token: t}
cdns:
  edge: {kind: tencent-cdn, secret_id: i, secret_key: k}
sites:
  www:
    repo: host:acme/website
    base_urls: [https://www.example.com]
    cdns: [edge]
    status: {context: purgehook/www}
    rules:
      - name: pages
        match: ["**"]
        urls: ["/{path}"]
"#;

/// One run of the program.
struct Life {
    process: Arc<Process>,
    engine: Arc<Engine>,
    steps: JoinHandle<()>,
    _stop: watch::Sender<bool>,
    _config: watch::Sender<Arc<Config>>,
}

struct World {
    time: Time,
    chance: Chance,
    trace: Trace,
    disk: Arc<Disk>,
    host: Arc<Host>,
    account: Arc<Account>,
    caches: Arc<Caches>,
    lives: u32,
    life: Option<Life>,
    tree: Tree,
    acknowledged: Vec<(String, Vec<RunId>)>,
}

/// Lets a world of this seed happen. What it told.
pub fn happen(seed: u64) -> Trace {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let trace = Trace::default();
    runtime.block_on(async {
        let mut world = World::new(seed, &trace);
        world.script().await;
        world.settle().await;
    });
    trace
}

/// The rules, read once.
fn rules() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let outside = Outside::new(Clock::system()).unwrap();
        let environment = Environment::of([]);
        let loaded = config::read("rules.yaml", RULES, environment, &outside, ALL_KINDS);
        loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config
    })
}

impl World {
    fn new(seed: u64, trace: &Trace) -> Self {
        let chance = Chance::new(seed);
        let time = Time::beginning_at("2026-01-05T03:00:00Z".parse::<Timestamp>().unwrap());
        let caches = Arc::new(Caches::default());
        let limit = |per_request, per_day| Limit {
            per_request,
            per_day,
            per_day_configured: false,
            requests_per_second: 5,
        };
        let kinds = BTreeMap::from([
            (PurgeKind::Url, limit(3, 10_000)),
            (PurgeKind::Directory, limit(2, 100)),
        ]);
        let histories = [History::Prompt, History::Late, History::None];
        let nature = Nature {
            name: CDN.to_owned(),
            per_day: kinds
                .iter()
                .map(|(kind, limit)| (*kind, limit.per_day))
                .collect(),
            limits: Limits {
                kinds,
                queries_per_second: 5,
                url_length: None,
            },
            history: histories[chance.place(histories.len())],
            says_quota: chance.one_in(2),
        };
        Self {
            time,
            disk: Disk::new(false, &chance, time, trace),
            host: Host::new(Promises::new(trace), time, &chance, trace),
            account: Account::new(nature, &caches, time, &chance, trace),
            caches,
            trace: trace.clone(),
            lives: 0,
            life: None,
            tree: Tree::new(),
            acknowledged: Vec::new(),
            chance,
        }
    }

    async fn start(&mut self) {
        self.lives += 1;
        let name = format!("life-{}", self.lives);
        let process = Process::new(name, self.time, &self.chance, &self.trace);
        let mut config = rules().clone();
        let client = Arc::new(cdn::Client {
            account: Arc::clone(&self.account),
            process: Arc::clone(&process),
        });
        config.cdns.insert(CDN.to_owned(), client.clone());
        for site in config.sites.values_mut() {
            site.reach = Reach::Live(BTreeMap::from([(CDN.to_owned(), client.clone() as _)]));
        }
        let client = forge::Client {
            host: Arc::clone(&self.host),
            process: Arc::clone(&process),
        };
        config.forges.insert("host".to_owned(), Arc::new(client));
        let store = Arc::new(self.store(&process));
        store.free_leases().await.unwrap();
        let (config_sender, config) = watch::channel(Arc::new(config));
        let engine = Engine::new(config, store, process.clock.clone());
        let (stop, stopping) = watch::channel(false);
        let steps = tokio::spawn(Arc::clone(&engine).run(stopping));
        self.life = Some(Life {
            process,
            engine,
            steps,
            _stop: stop,
            _config: config_sender,
        });
    }

    fn store(&self, process: &Arc<Process>) -> Store {
        Store::on(Box::new(Opened {
            disk: Arc::clone(&self.disk),
            process: Arc::clone(process),
        }))
    }

    /// Starts the program anew where it died.
    async fn see_to_it(&mut self) {
        if self
            .life
            .as_ref()
            .is_some_and(|life| life.process.is_dead())
        {
            self.end();
        }
        if self.life.is_none() {
            self.start().await;
        }
    }

    fn end(&mut self) {
        if let Some(life) = self.life.take() {
            life.process.kill("at the world's wish");
            life.steps.abort();
        }
    }

    fn push(&mut self) -> Delivery {
        let path = PATHS[self.chance.place(PATHS.len())].to_owned();
        if self.chance.one_in(5) {
            self.tree.remove(&path);
        } else {
            self.tree.insert(path, self.chance.within(1..1 << 40));
        }
        let commit = self.host.commit(&self.tree);
        // The origin has it before the forge tells of it, as purgehook's trigger asks.
        self.caches.serve(self.time.now(), &self.tree);
        self.host.push(&commit)
    }

    async fn visit(&self) {
        for path in PATHS {
            if self.chance.one_in(2) {
                let url = format!("https://www.example.com/{path}");
                self.caches.visit(self.time.now(), CDN, &url);
            }
        }
    }

    /// Hands a delivery over; a dead process does not answer.
    async fn deliver(&mut self, delivery: &Delivery) {
        self.see_to_it().await;
        let Some(life) = &self.life else { return };
        let headers = Headers::new([("x-delivery", delivery.id.as_bytes())]);
        let receiving =
            life.engine
                .receive("host", &headers, "application/json", delivery.body.clone());
        let answer = tokio::select! {
            biased;
            answer = receiving => answer,
            () = life.process.died() => return,
        };
        if let Ok(Received::Accepted { delivery, runs } | Received::Duplicate { delivery, runs }) =
            answer
        {
            self.acknowledged.push((delivery, runs));
        }
    }

    async fn script(&mut self) {
        self.start().await;
        let first = self.push();
        self.deliver(&first).await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        self.visit().await;
        let mut late = Vec::new();
        for _ in 0..self.chance.within(3..10) {
            match self.chance.within(0..8) {
                0..3 => {
                    let delivery = self.push();
                    match self.chance.within(0..6) {
                        0 => {} // lost
                        1 => late.push(delivery),
                        2 => {
                            self.deliver(&delivery).await;
                            self.deliver(&delivery).await;
                        }
                        _ => self.deliver(&delivery).await,
                    }
                }
                3 => {
                    if let Some(delivery) = late.pop() {
                        self.deliver(&delivery).await;
                    }
                }
                4 => {
                    let percent = u32::try_from(self.chance.within(0..50)).unwrap();
                    self.host.wire.set_trouble(percent);
                    self.account.wire.set_trouble(percent / 2);
                }
                5 => {
                    if let Some(life) = &self.life {
                        life.process.light(self.chance.within(0..30));
                    }
                }
                6 => self
                    .account
                    .set_bad_ends(if self.chance.one_in(3) { 20 } else { 0 }),
                _ => self.visit().await,
            }
            tokio::time::sleep(self.chance.millis(0..60_000)).await;
            self.see_to_it().await;
        }
    }

    /// Nothing goes wrong any more: everything must come to its end.
    async fn settle(&mut self) {
        self.host.wire.set_trouble(0);
        self.account.wire.set_trouble(0);
        self.account.set_bad_ends(0);
        self.end();
        self.start().await;
        let eyes = Process::new("eyes".to_owned(), self.time, &self.chance, &self.trace);
        let store = self.store(&eyes);
        // Longer than a comparison with the forge takes to come round, and than a run may take.
        let mut runs = Vec::new();
        for quarter in 0..30 {
            tokio::time::sleep(Duration::from_secs(900)).await;
            runs = store
                .runs(&RunFilter {
                    limit: 1_000,
                    ..RunFilter::default()
                })
                .await
                .unwrap();
            if quarter > 0 && runs.iter().all(|run| run.state != RunState::Pending) {
                break;
            }
        }
        self.check(&runs);
        self.end();
    }

    fn check(&self, runs: &[Run]) {
        let now = self.time.now();
        let known: BTreeSet<&RunId> = runs.iter().map(|run| &run.id).collect();
        for (delivery, of) in &self.acknowledged {
            if of.is_empty() || of.iter().any(|run| !known.contains(run)) {
                self.trace.broken(
                    now,
                    &format!("{delivery} was acknowledged without its runs"),
                );
            }
        }
        for run in runs {
            let state = run.state.word();
            if run.state == RunState::Pending {
                self.trace
                    .broken(now, &format!("{} never ended: {}", run.id, run.summary));
                continue;
            }
            let shown = self.host.shown_for(&run.commit, CONTEXT, &run.id);
            self.trace
                .tell(now, &format!("{} ended {state}, shows {shown:?}", run.id));
        }
        let all_well = runs
            .iter()
            .all(|run| matches!(run.state, RunState::Succeeded | RunState::Superseded));
        if all_well && !runs.is_empty() {
            for stale in self.caches.stale(now, &self.tree) {
                self.trace
                    .broken(now, &format!("all runs ended well, and {stale}"));
            }
        }
    }
}
