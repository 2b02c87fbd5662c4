//! A world made from a seed, and what happens in it.

mod script;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use purgehook::cdn::{Cdn, Limit, Limits};
use purgehook::config::{Config, PurgeMode};
use purgehook::engine::{Engine, Received};
use purgehook::forge::Headers;
use purgehook::purge::PurgeKind;
use purgehook::run::RunId;
use purgehook::store::{NewDelivery, Source, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::caches::{Caches, Tree};
use crate::cdn::{Account, History, Nature};
use crate::database::{Disk, Opened};
use crate::forge::{Delivery, Host};
use crate::process::{Chance, Process, Time};
use crate::promises::{Noted, Promises, Watch};
use crate::rules::{DEPLOYED, PATHS, PLAIN, RICH, Rules};
use crate::trace::Trace;
use crate::{cdn, forge};

/// Looks at what has become of the runs in the end, each so long after the one before.
const LOOK: Duration = Duration::from_secs(20);
/// The longest that everything may take in the end: runs have six hours, and quotas a day.
const PATIENCE: Duration = Duration::from_secs(32 * 60 * 60);

/// When worlds begin. Quotas begin anew at 16:00.
const BEGIN: &str = "2026-01-05T15:48:00Z";

/// One run of the program.
struct Life {
    process: Arc<Process>,
    engine: Arc<Engine>,
    steps: JoinHandle<()>,
    _stop: watch::Sender<bool>,
    _config: watch::Sender<Arc<Config>>,
}

/// What is so of a world from beginning to end.
struct Kind {
    rules: &'static Rules,
    /// Processes that work on the database at the same time.
    replicas: usize,
    /// Whether a process may stand still and go on later.
    has_stops: bool,
}

struct World {
    nature: Kind,
    time: Time,
    chance: Chance,
    trace: Trace,
    disk: Arc<Disk>,
    host: Arc<Host>,
    accounts: BTreeMap<String, Arc<Account>>,
    caches: Arc<Caches>,
    promises: Promises,
    lives: Vec<Option<Life>>,
    begun: usize,
    /// Times that a process died or stood still.
    accidents: usize,
    /// Commits that were live, with their trees, oldest first.
    past: Vec<(String, Tree)>,
    /// How often each file is built otherwise than at first, although git has the same.
    rebuilt: BTreeMap<String, u64>,
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
        let all = async {
            world.script().await;
            world.settle().await;
        };
        tokio::select! {
            biased;
            () = trace.has_no_end() => {}
            () = all => {}
        }
        for panic in crate::PANICS.take() {
            trace.broken(world.time.now(), &panic);
        }
    });
    trace
}

/// Takes in a delivery out of a forge's log, as no world does.
pub fn take_from_a_log() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (chance, trace) = (Chance::new(0), Trace::default());
        let time = Time::beginning_at(BEGIN.parse().unwrap());
        let store = Store::on(Box::new(Opened {
            disk: Disk::new(false, &chance, time, &trace),
            process: Process::new("life".to_owned(), time, &chance, &trace),
            promises: None,
        }));
        let lost = NewDelivery {
            id: "lost".to_owned(),
            forge: "host".to_owned(),
            forge_delivery: None,
            event: "push".to_owned(),
            ordering_key: "acme/website refs/heads/main".to_owned(),
            dedup_key: "a to b".to_owned(),
            content_type: "application/json".to_owned(),
            body: purgehook::store::DeliveryBody::Whole(bytes::Bytes::new()),
            source: Source::Log,
            is_dated: false,
            sent_at: time.now(),
            received_at: time.now(),
            start_at: time.now(),
            runs: Vec::new(),
        };
        store.accept(&[lost]).await.unwrap();
    });
}

impl World {
    fn new(seed: u64, trace: &Trace) -> Self {
        let chance = Chance::new(seed);
        let replicas = if chance.one_in(4) { 2 } else { 1 };
        let nature = Kind {
            rules: [&RICH, &PLAIN, &DEPLOYED][chance.place(3)],
            replicas,
            has_stops: replicas > 1 && chance.one_in(2),
        };
        let time = Time::beginning_at(BEGIN.parse().unwrap());
        let caches = Arc::new(Caches::default());
        let disk = Disk::new(nature.replicas > 1, &chance, time, trace);
        let accounts: BTreeMap<String, Arc<Account>> = nature
            .rules
            .cdns
            .iter()
            .map(|name| {
                let nature = account(name, &chance, nature.has_stops);
                let account = Account::new(nature, &caches, time, &chance, trace);
                ((*name).to_owned(), account)
            })
            .collect();
        let promises = Promises::new(Watch {
            disk: Arc::clone(&disk),
            caches: Arc::clone(&caches),
            accounts: accounts.clone(),
            sites: nature.rules.sites,
            time,
            trace: trace.clone(),
            has_stops: nature.has_stops,
            noted: Mutex::new(Noted::default()),
        });
        Self {
            host: Host::new(&promises, time, &chance, trace),
            lives: (0..nature.replicas).map(|_| None).collect(),
            nature,
            time,
            disk,
            accounts,
            caches,
            promises,
            trace: trace.clone(),
            begun: 0,
            accidents: 0,
            past: Vec::new(),
            rebuilt: BTreeMap::new(),
            acknowledged: Vec::new(),
            chance,
        }
    }

    async fn start(&mut self, seat: usize) {
        self.begun += 1;
        let name = format!("life-{}", self.begun);
        let process = Process::new(name, self.time, &self.chance, &self.trace);
        let mut config = self.nature.rules.config();
        let cdns: BTreeMap<String, Arc<dyn Cdn>> = self
            .accounts
            .iter()
            .map(|(name, account)| {
                let client = cdn::Client {
                    account: Arc::clone(account),
                    process: Arc::clone(&process),
                };
                (name.clone(), Arc::new(client) as _)
            })
            .collect();
        for site in config.sites.values_mut() {
            let its = cdns.iter().filter(|(name, _)| site.cdns.contains(name));
            site.mode = PurgeMode::Live(its.map(|(n, cdn)| (n.clone(), Arc::clone(cdn))).collect());
        }
        config.cdns = cdns;
        let client = forge::Client {
            host: Arc::clone(&self.host),
            process: Arc::clone(&process),
        };
        config.forges.insert("host".to_owned(), Arc::new(client));
        let store = Arc::new(Store::on(Box::new(Opened {
            disk: Arc::clone(&self.disk),
            process: Arc::clone(&process),
            promises: Some(self.promises.clone()),
        })));
        if store.release_all_leases().await.is_err() {
            // The disk has trouble; whoever looks after the program starts it again later.
            return;
        }
        let (config_sender, config) = watch::channel(Arc::new(config));
        let engine = Engine::new(config, store, process.clock.clone());
        let (stop, stopping) = watch::channel(false);
        let steps = tokio::spawn(Arc::clone(&engine).run(stopping));
        self.lives[seat] = Some(Life {
            process,
            engine,
            steps,
            _stop: stop,
            _config: config_sender,
        });
    }

    /// Starts the program anew where it died.
    async fn see_to_it(&mut self) {
        for seat in 0..self.lives.len() {
            let life = self.lives[seat].as_ref();
            if life.is_some_and(|life| life.process.is_dead()) {
                self.end(seat);
            }
            if self.lives[seat].is_none() {
                self.start(seat).await;
            }
        }
    }

    fn end(&mut self, seat: usize) {
        if let Some(life) = self.lives[seat].take() {
            life.process.kill("at the world's wish");
            life.steps.abort();
            self.accidents += 1;
        }
    }

    fn visit(&self, percent: u32) {
        for site in self.nature.rules.sites {
            for cdn in site.cdns {
                for path in PATHS {
                    if self.chance.percent(percent) {
                        let url = format!("{}/{path}", site.base_url);
                        self.caches.visit(self.time.now(), cdn, &url);
                    }
                }
            }
        }
    }

    /// Hands a delivery over. Whether it was taken in; a dead process does not answer.
    async fn deliver(&mut self, delivery: &Delivery) -> bool {
        self.see_to_it().await;
        let seat = self.chance.place(self.lives.len());
        let Some(life) = &self.lives[seat] else {
            return false;
        };
        self.tell(&format!("{} comes to {}", delivery.id, life.process.name));
        let headers = Headers::new([("x-delivery", delivery.id.as_bytes())]);
        let receiving =
            life.engine
                .receive("host", &headers, "application/json", delivery.body.clone());
        let answer = tokio::select! {
            biased;
            answer = receiving => answer,
            () = life.process.died() => return false,
        };
        match answer {
            Ok(
                Received::Accepted { delivery, runs, .. }
                | Received::Duplicate { delivery, runs, .. },
            ) => {
                self.acknowledged.push((delivery, runs));
                true
            }
            Ok(received @ (Received::Pong | Received::Ignored { .. })) => {
                let promise = format!("{} came to {received:?}", delivery.id);
                self.trace.broken(self.time.now(), &promise);
                true
            }
            Err(error) => {
                self.tell(&format!("{} is turned away: {error}", delivery.id));
                false
            }
        }
    }

    /// Nothing goes wrong any more: everything must come to its end, and the last push to a good one.
    async fn settle(&mut self) {
        self.host.wire.heal();
        self.host.call_it_as_before();
        self.disk.set_trouble(0);
        for account in self.accounts.values() {
            account.wire.heal();
            account.buy(1_000);
            account.set_bad_ends(0);
        }
        for seat in 0..self.lives.len() {
            self.end(seat);
        }
        self.tell("all is well");
        self.visit(30);
        let last = self.last_push();
        while !self.deliver(&last).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let begun = self.time.now();
        loop {
            tokio::time::sleep(LOOK).await;
            let sql = "SELECT (SELECT COUNT(*) FROM runs WHERE state = 'pending')
                 + (SELECT COUNT(*) FROM work WHERE kind = 'status') AS open,
                 (SELECT COUNT(*) FROM runs WHERE state = 'succeeded' AND commit_id = $1) AS well";
            let head = self.past.last().map(|(commit, _)| commit.as_str());
            let rows = self.disk.rows(sql, vec![head.into()]);
            let count = |column| rows[0].int(column).unwrap();
            let sites = self.nature.rules.sites.len();
            if count("open") == 0 && usize::try_from(count("well")).unwrap() >= sites {
                break;
            }
            if self.time.now() > begun + PATIENCE {
                let open = count("open");
                let promise = format!("{open} things are not over after {PATIENCE:?}");
                self.trace.broken(self.time.now(), &promise);
                break;
            }
        }
        let accidents = self.accidents + self.disk.failures();
        self.promises
            .look_at_the_end(&self.host, &self.acknowledged, accidents);
        for seat in 0..self.lives.len() {
            self.end(seat);
        }
    }

    fn tell(&self, what: &str) {
        self.trace.tell(self.time.now(), what);
    }
}

/// A CDN's account, of a random kind.
fn account(name: &str, chance: &Chance, has_stops: bool) -> Nature {
    let is_scarce = chance.one_in(4);
    let limit = |per_request, per_day| Limit {
        per_request,
        per_day,
        per_day_configured: false,
        requests_per_second: 5,
    };
    let says_quota = chance.one_in(2);
    // What nobody can ask for is what the vendor documents, and takes days to wait for.
    let urls = match (is_scarce, says_quota) {
        (true, true) => chance.within(4..20),
        (true, false) => chance.within(20..40),
        (false, _) => 10_000,
    };
    let kinds = BTreeMap::from([
        (PurgeKind::Url, limit(3, urls)),
        (PurgeKind::Directory, limit(2, 100)),
        (PurgeKind::Prefetch, limit(3, 1_000)),
    ]);
    let histories = [History::Prompt, History::Late, History::None];
    let history = histories[chance.place(histories.len())];
    Nature {
        name: name.to_owned(),
        per_day: kinds
            .iter()
            .map(|(kind, limit)| (*kind, limit.per_day))
            .collect(),
        limits: Limits {
            kinds,
            queries_per_second: 5,
            url_length: None,
        },
        history,
        gives_ids: history != History::Prompt || !chance.one_in(5),
        says_quota,
        watches_rates: !has_stops,
        slowest: if chance.one_in(4) { 60_000 } else { 3_000 },
    }
}
