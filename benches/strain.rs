//! How pushes are taken in while others are a burden: the real program on one core, and on the other
//! thousands that hold connections open, send a byte a second, or send the largest bodies all at once.
//!
//! `cargo bench --bench strain`, or `cargo bench --bench strain -- idle` for those with that in their name;
//! `PURGEHOOK_BIN` measures another build. It needs Linux (`/proc`, `taskset`), two cores, 2 GB of memory and
//! 10,100 open files in each process (`ulimit -Hn`). A signed push for a branch that no site follows goes on
//! every ten milliseconds, on a connection of its own that is kept open.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on should say where"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::server::{self, Server};
use support::webhook::{Push, Request, SECRET, read_answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const IDLE: usize = 10_000;
const SLOW: usize = 1_000;
const LARGE: usize = 64;
/// Bytes of the largest bodies: GitHub caps a payload at 25 MB.
const LARGEST: usize = 24 << 20;
/// Between two pushes.
const PACE: Duration = Duration::from_millis(10);
/// For how long a strain is held up that does not end by itself.
const HELD: Duration = Duration::from_secs(5);
/// When to give up on what should end by itself.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Strain {
    None,
    Idle,
    Slow,
    LargeIgnored,
    LargeKept,
}

impl Strain {
    fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Idle => format!("{IDLE} idle connections"),
            Self::Slow => format!("{SLOW} senders of a byte a second"),
            Self::LargeIgnored => format!("{LARGE} bodies of 24 MiB, for no site"),
            Self::LargeKept => format!("{LARGE} bodies of 24 MiB, kept"),
        }
    }

    /// Requests that take their time to be made.
    fn requests(self) -> Vec<Request> {
        let branch = match self {
            Self::None | Self::Idle | Self::Slow => return Vec::new(),
            Self::LargeIgnored => "elsewhere",
            Self::LargeKept => "main",
        };
        let push = Push {
            branch,
            size: LARGEST,
            ..Push::default()
        };
        (0..LARGE as u64)
            .map(|n| push.request(1_000_000 + n))
            .collect()
    }

    /// Puts it on the program until it is over; what is to be said of it.
    async fn put_on(self, address: &str, requests: &[Request]) -> String {
        match self {
            Self::None => {
                sleep(HELD).await;
                String::new()
            }
            Self::Idle => idle(address).await,
            Self::Slow => slow(address).await,
            Self::LargeIgnored | Self::LargeKept => large(address, requests).await,
        }
    }
}

fn main() {
    raise_open_files();
    support::pin();
    println!("{}\n", server::program().display());
    println!(
        "{:<34} pushes   median ms   longest ms   memory MB",
        "strain"
    );
    for strain in [
        Strain::None,
        Strain::Idle,
        Strain::Slow,
        Strain::LargeIgnored,
        Strain::LargeKept,
    ] {
        if !support::is_wanted(&strain.name()) {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("rules.yaml"), server::rules(SECRET)).unwrap();
        let server = Server::purgehook(directory.path(), "sqlite://purgehook.db");
        let requests = strain.requests();
        let (over, ended) = watch::channel(false);
        let address = server.address.clone();
        // On a thread of its own, so that it does not wait for those who strain.
        let pushing = std::thread::spawn(move || {
            let push = Push {
                branch: "elsewhere",
                ..Push::default()
            };
            support::block_on(push.repeat(&address, 0, "200", PACE, ended))
        });
        // The connection of the pushes is there first, as a forge's may be.
        std::thread::sleep(PACE * 10);
        let said = support::block_on(strain.put_on(&server.address, &requests));
        over.send_replace(true);
        let mut latencies = pushing.join().unwrap();
        latencies.sort_unstable();
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        println!(
            "{:<34} {:>6} {:>11.2} {:>12.2} {:>11}   {said}",
            strain.name(),
            latencies.len(),
            ms(latencies[latencies.len() / 2]),
            ms(latencies[latencies.len() - 1]),
            server.memory_kb("VmHWM") / 1_024,
        );
    }
}

/// Connections on which one request was answered, and no other comes.
async fn idle(address: &str) -> String {
    let mut streams = Vec::with_capacity(IDLE);
    let mut answer = vec![0; 16 * 1024];
    for _ in 0..IDLE {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let text = read_answer(&mut stream, &mut answer).await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        streams.push(stream);
    }
    sleep(HELD).await;
    let open = streams
        .iter()
        .filter(|stream| {
            let read = stream.try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        })
        .count();
    format!("{open} open at the end")
}

/// Half of them are slow in the head of the request, and half in its body.
async fn slow(address: &str) -> String {
    let request = Push::default().request(0).bytes();
    let head = request
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap()
        + 4;
    let senders = (0..SLOW).map(|n| {
        let at_once = if n % 2 == 0 { 0 } else { head };
        trickle(address, &request, at_once)
    });
    let cut = join_all(senders).await;
    let latest = |odd: usize| cut.iter().skip(odd).step_by(2).max().unwrap().as_secs_f64();
    format!(
        "cut by {:.1} s in the head, by {:.1} s in the body",
        latest(0),
        latest(1)
    )
}

/// Sends so much at once, and then a byte a second; how long until the program has enough of it.
async fn trickle(address: &str, request: &[u8], at_once: usize) -> Duration {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    stream.write_all(&request[..at_once]).await.unwrap();
    let mut answer = vec![0; 1024];
    for byte in &request[at_once..] {
        assert!(began.elapsed() < PATIENCE, "it is never cut");
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        match timeout(Duration::from_secs(1), stream.read(&mut answer)).await {
            Err(_) => {}
            // An answer, such as 408, or the end.
            Ok(_) => break,
        }
    }
    began.elapsed()
}

/// The largest bodies, all at once.
async fn large(address: &str, requests: &[Request]) -> String {
    let began = Instant::now();
    let senders = requests.iter().map(async |request| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        request.send(&mut stream).await;
        let mut answer = vec![0; 16 * 1024];
        let answer = read_answer(&mut stream, &mut answer).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().to_owned();
        if status.starts_with('2') {
            status
        } else {
            format!("{status} {body}")
        }
    });
    let answers = timeout(PATIENCE, join_all(senders)).await.unwrap();
    let took = began.elapsed().as_secs_f64();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for status in answers {
        *counts.entry(status).or_default() += 1;
    }
    format!("answered within {took:.1} s: {counts:?}")
}

/// For as many connections as are needed, where the system lets us.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
