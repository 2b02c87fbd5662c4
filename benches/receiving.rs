//! How fast webhooks are taken in: the real program on one core, SQLite on disk, and signed pushes that
//! all differ, over connections that are kept open.
//!
//! `cargo bench --bench receiving`; `PURGEHOOK_BIN` measures another build, `RECEIVING_SECONDS` (default 10)
//! says for how long. It needs Linux (`/proc`, `taskset`) and two cores: the program gets the first, the
//! sender the second. The program does all that it does otherwise: what is accepted is planned meanwhile.
//! The site's forge has no token, and its CDN is out of reach, so that nobody else's time is measured.
//! Beside it, the same pushes to a plain handler ([`plain`]).

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on should say where"
)]

#[path = "receiving/plain.rs"]
mod plain;
mod served;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use served::Server;
use served::webhook::{BODY, Push, SECRET, read_answer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
/// Set in the child that serves for comparison.
const PLAIN: &str = "RECEIVING_PLAIN";
const WARM_UP: Duration = Duration::from_secs(2);
/// What is sent, and what should come of it.
#[derive(Clone, Copy)]
enum Kind {
    /// Signed with another secret.
    Forged,
    /// Of a repository that no site is for: verified and read, not stored.
    Ignored,
    /// Each a push of its own: on disk, with its run, before it is answered.
    Accepted,
    /// The same, sent to a handler that keeps nothing,
    Plain,
    /// and to one with a transaction for each, which plans nothing.
    OneByOne,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Forged => "401 forged",
            Self::Ignored => "200 ignored",
            Self::Accepted => "202 accepted",
            Self::Plain => "202 plain, nothing kept",
            Self::OneByOne => "202 plain, one commit each",
        }
    }

    fn status(self) -> &'static str {
        self.name().split(' ').next().unwrap_or_default()
    }

    fn push(self) -> Push<'static> {
        match self {
            Self::Forged => Push {
                secret: "another secret",
                ..Push::default()
            },
            Self::Ignored => Push {
                repo: "acme/elsewhere",
                ..Push::default()
            },
            Self::Accepted | Self::Plain | Self::OneByOne => Push::default(),
        }
    }

    /// The word that a child serves by, if it is not purgehook.
    fn plain(self) -> Option<&'static str> {
        match self {
            Self::Forged | Self::Ignored | Self::Accepted => None,
            Self::Plain => Some("keep nothing"),
            Self::OneByOne => Some("one commit each"),
        }
    }
}

fn main() {
    if let Ok(how) = std::env::var(PLAIN) {
        let database = (how == "one commit each").then_some(Path::new("plain.db"));
        return plain::serve(SECRET, database);
    }
    let seconds = served::number("RECEIVING_SECONDS", 10);
    served::pin();
    println!(
        "{CONNECTIONS} connections, bodies of {BODY} bytes, {seconds} s each; {}\n",
        served::program().display()
    );
    println!(
        "{:<26} deliveries/s   CPU us each   median ms   99 % ms   memory MB   database MB",
        "answer"
    );
    for kind in [
        Kind::Forged,
        Kind::Ignored,
        Kind::Accepted,
        Kind::Plain,
        Kind::OneByOne,
    ] {
        let directory = tempfile::tempdir().unwrap();
        let server = start(kind, directory.path());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let figures = runtime.block_on(load(&server, kind, Duration::from_secs(seconds)));
        let database: u64 = fs::read_dir(directory.path())
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .sum();
        println!(
            "{:<26} {:>12.0} {:>13.1} {:>11.2} {:>9.2} {:>11} {:>13}",
            kind.name(),
            figures.each_second,
            figures.cpu.as_secs_f64() * 1e6,
            figures.latency(0.5),
            figures.latency(0.99),
            server.memory_kb("VmHWM") / 1_024,
            database / (1 << 20),
        );
    }
}

struct Figures {
    each_second: f64,
    cpu: Duration,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Figures {
    fn latency(&self, part: f64) -> f64 {
        let place = (self.latencies.len() as f64 * part) as usize;
        self.latencies[place.min(self.latencies.len() - 1)].as_secs_f64() * 1e3
    }
}

/// Keeps all connections busy, and measures what comes after the warm-up.
async fn load(server: &Server, kind: Kind, time: Duration) -> Figures {
    let count = Cell::new(0_u64);
    let begins = Instant::now() + WARM_UP;
    let ends = begins + time;
    let connections = (0..CONNECTIONS).map(|_| connection(server, kind, &count, begins, ends));
    let all = futures_util::future::join_all(connections);
    let cpu = async {
        tokio::time::sleep_until(begins.into()).await;
        let before = server.cpu();
        tokio::time::sleep_until(ends.into()).await;
        server.cpu() - before
    };
    let (latencies, cpu) = tokio::join!(all, cpu);
    let mut latencies = latencies.concat();
    latencies.sort_unstable();
    Figures {
        each_second: latencies.len() as f64 / time.as_secs_f64(),
        cpu: cpu.div_f64(latencies.len() as f64),
        latencies,
    }
}

/// One delivery after the other; how long each answer took that came in time.
async fn connection(
    server: &Server,
    kind: Kind,
    count: &Cell<u64>,
    begins: Instant,
    ends: Instant,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let push = kind.push();
    let mut latencies = Vec::new();
    let mut answer = vec![0; 16 * 1024];
    while Instant::now() < ends {
        count.set(count.get() + 1);
        let request = push.request(count.get());
        let sent = Instant::now();
        stream.write_all(&request).await.unwrap();
        let text = read_answer(&mut stream, &mut answer).await;
        let now = Instant::now();
        assert!(
            text.starts_with(&format!("HTTP/1.1 {} ", kind.status())),
            "{text}"
        );
        if sent >= begins && now <= ends {
            latencies.push(now - sent);
        }
    }
    latencies
}

fn start(kind: Kind, directory: &Path) -> Server {
    fs::write(directory.join("rules.yaml"), served::rules(SECRET)).unwrap();
    match kind.plain() {
        Some(how) => {
            let program = std::env::current_exe().unwrap();
            Server::start(directory, |command| command.arg(program).env(PLAIN, how))
        }
        None => Server::purgehook(directory, "sqlite://purgehook.db"),
    }
}
