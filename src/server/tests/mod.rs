//! A whole server on a socket of its own, with a store in a file and a forge that accepts one header as proof.

mod api;
mod connections;
mod hooks;
mod operations;
mod pages;
mod reading;
mod security;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Limits, Running, start_with};
use crate::account::AccountId;
use crate::changes::{ChangeKind, ChangeSet, Completeness, FilePath, Proof};
use crate::clock::Clock;
use crate::config::{self, Kinds};
use crate::engine::Engine;
use crate::event::{CommitId, CommitRef, Event, GitRef, Push, RepoPath, SignalKind};
use crate::forge::{
    BodyVerifier, Forge, ForgeError, ForgeKind, Headers, Malformed, PostOutcome, Refusal,
    StatusPost, Verified, VerifiedByHeaders, WebPages,
};
use crate::http::Outbound;
use crate::purge::{GivenUp, PlannedPurge, PurgeKind, PurgeState, TaskIds};
use crate::run::{
    Arrival, Base, Link, Origin, Run, RunChanges, RunId, RunState, RunStep, StatusState, WaitReason,
};
use crate::settings::{Entry, Environment};
use crate::store::{
    Database, DeliveryBody, Dialect, Disposition, NewDelivery, NewPurge, Posting, PurgeKey,
    PurgeUpdate, Row, Source, Store, StoreError, Transaction, Upstream, Value, WorkKey, Write,
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ADMIN_TOKEN: &str = "open sesame, please";

const RULES: &str = r#"
server:
  public_url: https://purge.example.com/hook/
  admin_token: open sesame, please
forges:
  trusting:
    kind: trusting
cdns:
  tencent:
    kind: tencent-cdn
    secret_id: id
    secret_key: key
sites:
  www:
    repo: trusting:acme/website
    branches: ["main", "preview/<b>*"]
    base_urls: [https://www.example.com]
    cdns: [tencent]
    rules:
      - name: files
        match: ["**"]
        urls: ["/{path}"]
"#;

/// A forge that lets in whoever sends `x-signature: good`. A body is `ping`,
/// `other`, `panic`, or `<branch> <delivery id>` for a push.
struct Trusting {
    pages: WebPages,
}

const TRUSTING: ForgeKind = ForgeKind {
    name: "trusting",
    entry: Entry::EMPTY,
    read: |section, _| {
        section.ignore_rest();
        let root = url::Url::parse("https://git.example.com").ok()?;
        let pages = WebPages::below(root);
        Some(Arc::new(Trusting { pages }))
    },
};

#[async_trait]
impl Forge for Trusting {
    fn kind(&self) -> &'static str {
        "trusting"
    }

    fn pages(&self) -> Option<&WebPages> {
        Some(&self.pages)
    }

    fn signals(&self) -> &'static [SignalKind] {
        &[]
    }

    fn content_types(&self) -> &'static [&'static str] {
        &["application/json"]
    }

    fn verifier(&self, headers: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal> {
        match headers.text("x-signature") {
            Some("good") => Ok(Box::new(VerifiedByHeaders(Verified {
                delivery_id: headers.text("x-delivery").map(str::to_owned),
                event: "push".to_owned(),
            }))),
            Some(_) => Err(Refusal::BadSignature("the signature is wrong".to_owned())),
            None => Err(Refusal::Unsigned("the signature is missing".to_owned())),
        }
    }

    fn understand(&self, _: &Verified, _: &str, body: &[u8]) -> Result<Event, Malformed> {
        let text = std::str::from_utf8(body).map_err(|_| Malformed("not UTF-8".to_owned()))?;
        match text.trim_end() {
            "ping" => Ok(Event::Ping),
            "other" => Ok(Event::Other {
                repo: None,
                why: "the event `star` triggers nothing".to_owned(),
            }),
            "panic" => panic!("a forge met something that it should not have"),
            "" => Err(Malformed("it is empty".to_owned())),
            branch => Ok(Event::Push(Push {
                repo: RepoPath::parse("acme/website").unwrap(),
                repo_id: None,
                git_ref: GitRef::Branch(branch.to_owned()),
                before: None,
                after: CommitId::parse(COMMIT),
                commit: CommitId::parse(COMMIT),
                forced: false,
                listed: ChangeSet::unknown("nothing is listed"),
            })),
        }
    }

    async fn changes(
        &self,
        _: &RepoPath,
        _: &CommitId,
        _: &CommitId,
    ) -> Result<ChangeSet, ForgeError> {
        Ok(ChangeSet::unknown("nobody looked"))
    }

    async fn resolve(&self, _: &RepoPath, name: &str) -> Result<CommitId, ForgeError> {
        Err(ForgeError::Gone(name.to_owned()))
    }

    async fn environment_head(
        &self,
        _: &RepoPath,
        _: &str,
    ) -> Result<Option<CommitId>, ForgeError> {
        Ok(None)
    }

    async fn post_status(
        &self,
        _: &RepoPath,
        _: &CommitId,
        _: &StatusPost,
    ) -> Result<PostOutcome, ForgeError> {
        Ok(PostOutcome::Posted)
    }
}

/// A database that does nothing but fail.
struct OutOfOrder;

#[async_trait]
impl Database for OutOfOrder {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Err(StoreError::unreachable("disk full at /var/lib".to_owned()))
    }

    async fn read(&self, _: &str, _: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        Err(StoreError::unreachable("disk full at /var/lib".to_owned()))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn notified(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

/// How a server is to be started.
struct Setup {
    rules: String,
    limits: Limits,
    store_works: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rules: RULES.to_owned(),
            limits: Limits {
                drain: Duration::ZERO,
                stop: Duration::from_secs(1),
                ..Limits::default()
            },
            store_works: true,
        }
    }
}

/// A server under test, gone when dropped.
struct Server {
    address: SocketAddr,
    engine: Arc<Engine>,
    clock: Clock,
    http: reqwest::Client,
    stop: watch::Sender<bool>,
    _running: Running,
    _config: watch::Sender<Arc<config::Config>>,
    _dir: TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::start_as(Setup::default()).await
    }

    async fn start_as(setup: Setup) -> Self {
        let clock = Clock::system();
        let outbound = Outbound::new(clock.clone()).unwrap();
        let loaded = config::read(
            "rules.yaml",
            &setup.rules,
            Environment::of([]),
            &outbound,
            Kinds {
                forges: &[TRUSTING],
                cdns: crate::cdn::KINDS,
            },
        );
        let config = match loaded {
            Ok(loaded) => Arc::new(loaded.config),
            Err(problems) => panic!("{problems}"),
        };
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("purgehook.db");
        let store = if setup.store_works {
            Store::open(&format!("sqlite://{}", path.display()))
                .await
                .unwrap()
        } else {
            Store::on(Box::new(OutOfOrder))
        };
        let (keep, config) = watch::channel(config);
        let engine = Engine::new(config, Arc::new(store), clock.clone());
        let (stop, stopping) = watch::channel(false);
        let running =
            start_with(Arc::clone(&engine), "127.0.0.1:0", setup.limits, stopping).unwrap();
        Self {
            address: running.addresses()[0],
            engine,
            clock,
            http: outbound.http,
            stop,
            _running: running,
            _config: keep,
            _dir: dir,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.address))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A webhook as the forge sends it.
    fn hook(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, "/hooks/trusting")
            .header("x-signature", "good")
            .header("content-type", "application/json")
            .body(body)
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.page(path).await).unwrap()
    }

    /// A connection on which the test writes what it likes.
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Makes a run as a delivery of a push to `branch` would.
    async fn run(&self, branch: &str) -> Run {
        self.run_since(branch, None).await
    }

    /// The same where the branch stood at a commit before.
    async fn run_since(&self, branch: &str, before: Option<CommitId>) -> Run {
        self.take_in(branch, before, "{}").await
    }

    /// The same of a delivery with a body.
    async fn run_of(&self, branch: &str, body: &str) -> Run {
        self.take_in(branch, None, body).await
    }

    async fn take_in(&self, branch: &str, before: Option<CommitId>, body: &str) -> Run {
        let now = self.engine.now();
        let delivery = self.clock.new_id();
        let run = Run {
            id: RunId(self.clock.new_id()),
            site: "www".to_owned(),
            forge: "trusting".to_owned(),
            repo: RepoPath::parse("acme/website").unwrap(),
            git_ref: Some(GitRef::Branch(branch.to_owned())),
            before,
            commit: CommitRef::parse(COMMIT),
            delivery: Some(delivery.clone()),
            origin: Origin::Push,
            covered_by: None,
            bases: Vec::new(),
            held_version: None,
            state: RunState::Pending,
            step: RunStep::Changes,
            summary: "Finding out what changed".to_owned(),
            proof: None,
            problems: Vec::new(),
            notes: Vec::new(),
            dry_run: false,
            waits_for: None,
            arrival: Arrival::InOrder,
            revision: 0,
            created_at: now,
            deadline: now + Duration::from_secs(3_600),
            ended_at: None,
        };
        let new = NewDelivery {
            forge: "trusting".to_owned(),
            forge_delivery: Some(delivery.clone()),
            event: "push".to_owned(),
            ordering_key: format!("acme/website refs/heads/{branch}"),
            dedup_key: delivery.clone(),
            content_type: "application/json".to_owned(),
            body: DeliveryBody::Whole(Bytes::from(body.to_owned())),
            source: Source::Webhook,
            is_dated: false,
            sent_at: now,
            received_at: now,
            start_at: now,
            runs: vec![run.clone()],
            id: delivery,
        };
        self.engine.store().accept(&[new]).await.unwrap();
        run
    }

    /// Writes what the engine's steps would write for a run.
    async fn write(&self, run: &RunId, writes: &[Write]) {
        let store = self.engine.store();
        let now = self.engine.now();
        let token = self.clock.new_id();
        let claimed = store
            .claim(now, Duration::from_secs(60), &token, 1_000)
            .await
            .unwrap()
            .works;
        let mut written = false;
        for work in claimed {
            let after = Disposition::Reschedule { at: now };
            let writes = if work.key == WorkKey::Run(run.clone()) {
                written = true;
                writes
            } else {
                &[]
            };
            store.commit(&work.lease, writes, after, now).await.unwrap();
        }
        assert!(written, "the run has work to do");
    }

    async fn end(&self, run: &Run, state: RunState, summary: &str) {
        let ended = Run {
            state,
            step: RunStep::Ended,
            summary: summary.to_owned(),
            ended_at: Some(self.engine.now()),
            ..run.clone()
        };
        self.write(&run.id, &[Write::Run(ended)]).await;
    }
}

fn planned(path: &str) -> PlannedPurge {
    PlannedPurge {
        cdn: "tencent".to_owned(),
        kind: PurgeKind::Url,
        target: format!("https://www.example.com/{path}"),
        mode: None,
        rule: "files".to_owned(),
        path: Some(path.to_owned()),
    }
}

/// A planned purge that is to be submitted.
fn new_purge(planned: PlannedPurge) -> NewPurge {
    NewPurge {
        planned,
        account: Some(AccountId::new("account")),
        state: PurgeState::Planned,
    }
}

/// A plan of one URL for each path.
fn plan<'a>(run: &RunId, paths: impl IntoIterator<Item = &'a str>) -> Write {
    let purges = paths
        .into_iter()
        .map(|path| new_purge(planned(path)))
        .collect();
    Write::Purges(run.clone(), purges)
}

/// What became of the purge with a number.
fn became(run: &RunId, seq: i64, state: PurgeState, error: Option<&str>) -> Write {
    Write::Update(PurgeUpdate {
        keys: vec![PurgeKey {
            run: run.clone(),
            seq,
        }],
        state,
        task: None,
        error: error.map(str::to_owned),
        tried: true,
        batch_cap: None,
        given_up: None,
        only: crate::store::Precondition::Open,
    })
}

fn changes<'a>(run: &RunId, paths: impl IntoIterator<Item = &'a str>) -> Write {
    let files: BTreeMap<FilePath, ChangeKind> = paths
        .into_iter()
        .map(|path| (FilePath::new(path), ChangeKind::Modified))
        .collect();
    Write::Changes(run.clone(), files.into())
}

/// What is left to read on a connection until the server closes it.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is as good as a close.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
