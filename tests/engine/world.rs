//! The engine between the sandbox's forges and CDNs, on a clock that the test moves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use purgehook::clock::{Clock, TimeSource};
use purgehook::config::{self, ALL_KINDS, Config};
use purgehook::engine::{Engine, ReceiveError, Received};
use purgehook::forge::Headers;
use purgehook::http::Outbound;
use purgehook::run::{Base, Run, RunId, RunState};
use purgehook::sandbox::{Area, Delivery, Sandbox};
use purgehook::settings::Environment;
use purgehook::store::{RunFilter, Store, StoredStatus, WorkKey};
use tempfile::TempDir;
use tokio::sync::watch;

/// One site with one CDN, whose files are its URLs.
pub const ONE_SITE: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

/// Pauses shorter than this are gone through at once, longer ones end when the
/// test has moved the clock: the first keep a rate, the second keep leases.
const PACES: Duration = Duration::from_secs(10);
/// More moves of the clock than any test needs to come to rest.
const MOVES: usize = 20_000;

/// A clock that stands still until it is moved.
pub struct Driven(watch::Sender<Timestamp>);

/// The clock of everyone else, which goes with the program's but is not set with it.
struct Outsiders {
    time: Arc<Driven>,
    /// By how much theirs is ahead.
    ahead: watch::Receiver<SignedDuration>,
}

impl Driven {
    fn at(start: &str) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(start.parse().unwrap())))
    }

    /// Moves on to a moment; never back.
    pub fn move_to(&self, to: Timestamp) {
        self.0.send_modify(|now| *now = (*now).max(to));
    }

    /// Moves on by a while.
    pub fn pass(&self, duration: Duration) {
        self.0.send_modify(|now| *now += duration);
    }
}

#[async_trait]
impl TimeSource for Driven {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        if duration < PACES {
            self.pass(duration);
            tokio::task::yield_now().await;
            return;
        }
        let until = self.now() + duration;
        let mut moved = self.0.subscribe();
        // The sender lives as long as the clock.
        let _ = moved.wait_for(|now| *now >= until).await;
    }
}

#[async_trait]
impl TimeSource for Outsiders {
    fn now(&self) -> Timestamp {
        self.time.now() + *self.ahead.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        if duration < PACES {
            return self.time.sleep(duration).await;
        }
        let until = self.now() + duration;
        let mut moved = self.time.0.subscribe();
        let _ = moved
            .wait_for(|now| *now + *self.ahead.borrow() >= until)
            .await;
    }
}

/// An engine, its database and its surroundings.
pub struct World {
    pub sandbox: Sandbox,
    pub time: Arc<Driven>,
    pub clock: Clock,
    pub engine: Arc<Engine>,
    store: Arc<Store>,
    config: watch::Sender<Arc<Config>>,
    folder: TempDir,
    outsiders_ahead: watch::Sender<SignedDuration>,
}

impl World {
    /// A world under rules whose `{...}` the sandbox fills in: the `cdns:` and
    /// the `sites:` part of a rules file. All hosts are `www.example.com`.
    pub async fn new(seed: u64, rules: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("purgehook.db");
        let store = Store::open(&format!("sqlite://{}", path.display())).await;
        Self::on(seed, rules, store.unwrap(), folder).await
    }

    /// The same, on a store of one's own.
    pub async fn on(seed: u64, rules: &str, store: Store, folder: TempDir) -> Self {
        let time = Driven::at("2026-11-22T04:00:00Z");
        let outsiders_ahead = watch::Sender::new(SignedDuration::ZERO);
        let outsiders = Outsiders {
            time: Arc::clone(&time),
            ahead: outsiders_ahead.subscribe(),
        };
        let sandbox = Sandbox::start(Clock::new(
            Arc::new(outsiders),
            fastrand::Rng::with_seed(seed + 1),
        ))
        .await
        .unwrap();
        for account in [
            sandbox.tencent_cdn(),
            sandbox.tencent_ecdn(),
            sandbox.qcloud(),
            sandbox.huawei_cdn(),
        ] {
            account.add_domain("www.example.com", Area::Mainland);
        }
        let clock = Clock::new(
            Arc::clone(&time) as Arc<dyn TimeSource>,
            fastrand::Rng::with_seed(seed),
        );
        let config = watch::Sender::new(Arc::new(read(&sandbox, &clock, rules)));
        let store = Arc::new(store);
        let engine = Engine::new(config.subscribe(), Arc::clone(&store), clock.clone());
        Self {
            sandbox,
            time,
            clock,
            engine,
            store,
            config,
            folder,
            outsiders_ahead,
        }
    }

    /// The program's clock is set, back or forward, as an administrator or a time server does. No time passes.
    pub fn set_clock(&self, by: SignedDuration) {
        self.outsiders_ahead.send_modify(|ahead| *ahead -= by);
        self.time.0.send_modify(|now| *now += by);
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Other rules are in force from now on.
    pub fn set_rules(&self, rules: &str) {
        let config = read(&self.sandbox, &self.clock, rules);
        self.config.send_replace(Arc::new(config));
    }

    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// The process dies and another takes its place, on the same database.
    pub async fn restart(&mut self) {
        let path = self.folder.path().join("purgehook.db");
        let store = Store::open(&format!("sqlite://{}", path.display())).await;
        self.store = Arc::new(store.unwrap());
        self.store.release_all_leases().await.unwrap();
        self.engine = Engine::new(
            self.config.subscribe(),
            Arc::clone(&self.store),
            self.clock.clone(),
        );
    }

    /// Another process beside the first, on the same database.
    pub fn another_engine(&self) -> Arc<Engine> {
        let config = self.config.subscribe();
        Engine::new(config, Arc::clone(&self.store), self.clock.clone())
    }

    /// Hands a delivery to the engine.
    pub async fn receive(&self, delivery: &Delivery) -> Result<Received, ReceiveError> {
        let pairs = delivery
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers = Headers::new(pairs);
        let forge = delivery.path.rsplit('/').next().unwrap();
        let content_type = delivery.header("content-type").unwrap();
        let content_type = content_type.split(';').next().unwrap().trim();
        self.engine
            .receive(forge, &headers, content_type, delivery.body.clone())
            .await
    }

    /// Hands over a delivery that must be accepted: its one run.
    pub async fn accepted(&self, delivery: &Delivery) -> RunId {
        match self.receive(delivery).await.unwrap() {
            Received::Accepted { mut runs, .. } if runs.len() == 1 => runs.remove(0),
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Does what is due, and moves the clock to the next thing that is.
    pub async fn step(&self) {
        if let Some(next) = self.engine.drain().await.unwrap() {
            self.time.move_to(next);
        }
    }

    /// Goes on until every run has ended and every status was posted.
    pub async fn settle(&self) {
        for _ in 0..MOVES {
            let next = self.engine.drain().await.unwrap();
            if self.is_settled().await {
                return;
            }
            self.time.move_to(next.expect("something is still to do"));
        }
        panic!("it does not come to rest: {:#?}", self.runs().await);
    }

    async fn is_settled(&self) -> bool {
        let runs = self.runs().await;
        if runs.iter().any(|run| run.state == RunState::Pending) {
            return false;
        }
        for run in runs {
            let statuses = self.store.statuses(&run.id).await.unwrap();
            // A dry run that another covers shows nothing.
            let is_open = |last: &StoredStatus| last.posted_at.is_none() && last.error.is_none();
            if statuses.last().is_some_and(is_open) {
                return false;
            }
        }
        true
    }

    /// Looks for what is old enough to go at the next step, and every now and then after it.
    pub async fn ask_to_remove(&self) {
        let now = self.clock.now();
        self.store.ask(&WorkKey::Remove, now).await.unwrap();
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("purgehook.db")
    }

    /// Compares a site with its forge at the next step.
    pub async fn ask_to_reconcile(&self, site: &str) {
        let site = site.to_owned();
        let key = WorkKey::Reconcile { site };
        self.store.ask(&key, self.clock.now()).await.unwrap();
    }

    /// Compares sites with their forge, and looks again at what a delivery may have been on its way for.
    pub async fn reconcile(&self, sites: &[&str]) {
        for site in sites {
            self.ask_to_reconcile(site).await;
        }
        self.engine.drain().await.unwrap();
        self.time.pass(Duration::from_secs(10));
        self.engine.drain().await.unwrap();
    }

    /// All runs, newest first.
    pub async fn runs(&self) -> Vec<Run> {
        let all = RunFilter {
            limit: 10_000,
            ..RunFilter::default()
        };
        self.store.runs(&all).await.unwrap()
    }

    pub async fn run(&self, id: &RunId) -> Run {
        self.store.run(id).await.unwrap().unwrap()
    }
}

/// A commit as caches hold it.
pub fn base(commit: &str) -> Base {
    Base::parse(commit).unwrap()
}

/// The rules, with the sandbox's addresses and keys.
fn read(sandbox: &Sandbox, clock: &Clock, rules: &str) -> Config {
    let (github, gitlab) = (sandbox.github(), sandbox.gitlab());
    let (gitea, gitee) = (sandbox.gitea(), sandbox.gitee());
    let mut text = format!(
        "
forges:
  github: {{kind: github, secrets: ['{}'], token: '{}', api_url: '{}'}}
  gitlab: {{kind: gitlab, signing_tokens: ['{}'], token: '{}', api_url: '{}'}}
  gitea: {{kind: gitea, secrets: ['{}'], token: '{}', api_url: '{}'}}
  gitee: {{kind: gitee, secrets: ['{}'], token: '{}', api_url: '{}'}}
",
        github.webhook_secret(),
        github.token(),
        github.url(),
        gitlab.signing_token(),
        gitlab.token(),
        gitlab.url(),
        gitea.webhook_secret(),
        gitea.token(),
        gitea.url(),
        gitee.webhook_secret(),
        gitee.token(),
        gitee.url(),
    );
    text.push_str(rules);
    let (tencent, huawei) = (sandbox.tencent_cdn(), sandbox.huawei_cdn());
    let environment = [
        ("TENCENTCLOUD_SECRET_ID", tencent.secret_id().to_owned()),
        ("TENCENTCLOUD_SECRET_KEY", tencent.secret_key().to_owned()),
        ("HUAWEICLOUD_SDK_AK", huawei.secret_id().to_owned()),
        ("HUAWEICLOUD_SDK_SK", huawei.secret_key().to_owned()),
        ("TENCENT_URL", tencent.url()),
        ("ECDN_URL", sandbox.tencent_ecdn().url()),
        ("QCLOUD_URL", sandbox.qcloud().url()),
        ("HUAWEI_URL", huawei.url()),
    ];
    let environment = environment.iter().map(|(n, v)| (*n, v.as_str()));
    let outbound = Outbound::new(clock.clone()).unwrap();
    config::read(
        "rules.yaml",
        &text,
        Environment::of(environment),
        &outbound,
        ALL_KINDS,
    )
    .unwrap_or_else(|problems| panic!("{problems}"))
    .config
}

/// A number from the environment, for longer tries than every test run makes.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}
