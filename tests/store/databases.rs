//! The databases a test runs on, and what tests put into them.

use bytes::Bytes;
use jiff::Timestamp;
use purgehook::account::AccountId;
use purgehook::event::{CommitRef, GitRef, RepoPath};
use purgehook::purge::{Mode, PlannedPurge, PurgeKind, PurgeState};
use purgehook::run::{Arrival, Base, Origin, Run, RunId, RunState, RunStep};
use purgehook::store::{DeliveryBody, NewDelivery, NewPurge, Source, Store};
use tempfile::TempDir;

use crate::postgres;

/// A database and its address; further stores on it are what other replicas have.
pub struct Opened {
    pub store: Store,
    pub address: String,
    _folder: Option<TempDir>,
}

impl Opened {
    /// On SQLite, in a folder of its own.
    pub async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let address = format!("sqlite://{}", folder.path().join("store.db").display());
        Self {
            store: Store::open(&address).await.unwrap(),
            address,
            _folder: Some(folder),
        }
    }

    /// On PostgreSQL, in a database of its own.
    pub async fn postgres() -> Self {
        let address = postgres::new_database().await;
        Self {
            store: Store::open(&address).await.unwrap(),
            address,
            _folder: None,
        }
    }

    /// What another replica has.
    pub async fn another(&self) -> Store {
        Store::open(&self.address).await.unwrap()
    }
}

/// Makes each function a test on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::databases::Opened::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::databases::Opened::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// A moment, in seconds after the tests' beginning of time.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A delivery with one run; ids sort by `number`.
pub fn delivery(number: u32, forge_delivery: &str, meaning: &str) -> NewDelivery {
    let id = format!("D{number:04}");
    NewDelivery {
        runs: vec![Run {
            delivery: Some(id.clone()),
            ..run(number)
        }],
        id,
        forge: "github".to_owned(),
        forge_delivery: Some(forge_delivery.to_owned()),
        event: "push".to_owned(),
        ordering_key: "acme/website refs/heads/main".to_owned(),
        dedup_key: meaning.to_owned(),
        content_type: "application/json".to_owned(),
        body: DeliveryBody::Whole(Bytes::from(format!("{{\"number\": {number}}}"))),
        source: Source::Webhook,
        is_dated: false,
        sent_at: at(0),
        received_at: at(0),
        start_at: at(0),
    }
}

pub fn run_id(number: u32) -> RunId {
    RunId(format!("R{number:04}"))
}

/// The branch that the tests' runs are of.
pub fn main_branch() -> GitRef {
    GitRef::Branch("main".to_owned())
}

/// A held commit, by the digit that its id repeats.
pub fn base(digit: char) -> Base {
    Base::parse(&digit.to_string().repeat(40)).unwrap()
}

/// A run as it begins.
pub fn run(number: u32) -> Run {
    Run {
        id: run_id(number),
        site: "www".to_owned(),
        forge: "github".to_owned(),
        repo: RepoPath::parse("acme/website").unwrap(),
        git_ref: Some(main_branch()),
        before: None,
        commit: CommitRef::parse(&format!("{number:040x}")),
        delivery: None,
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
        created_at: at(0),
        deadline: at(3_600),
        ended_at: None,
    }
}

/// A planned purge of a URL on the tests' only account.
pub fn url(path: &str) -> NewPurge {
    planned(PurgeKind::Url, path, None)
}

/// A planned purge on the tests' only account.
pub fn planned(kind: PurgeKind, path: &str, mode: Option<Mode>) -> NewPurge {
    let planned = PlannedPurge {
        cdn: "tencent".to_owned(),
        kind,
        target: format!("https://www.example.com{path}"),
        mode,
        rule: "pages".to_owned(),
        path: Some(format!("content{path}.md")),
    };
    NewPurge {
        planned,
        account: Some(AccountId::new("an account")),
        state: PurgeState::Planned,
    }
}
