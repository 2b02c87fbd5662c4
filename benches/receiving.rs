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

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
/// Bytes of a push's body: about what GitHub sends for a commit or two.
const BODY: usize = 7_900;
const SECRET: &str = "a secret for measuring only";
/// Set in the child that serves for comparison.
const PLAIN: &str = "RECEIVING_PLAIN";
const WARM_UP: Duration = Duration::from_secs(2);
/// Clock ticks in a second, in which Linux counts a process's CPU time (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

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
    let seconds = std::env::var("RECEIVING_SECONDS").map_or(10, |text| text.parse().unwrap());
    let program = std::env::var("PURGEHOOK_BIN")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_purgehook").to_owned());
    let program = fs::canonicalize(program).unwrap();
    pin(std::process::id(), 1);
    println!(
        "{CONNECTIONS} connections, bodies of {BODY} bytes, {seconds} s each; {}\n",
        program.display()
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
        let mut server = Server::start(&program, kind, directory.path());
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
            server.memory_kb() / 1_024,
            database / (1 << 20),
        );
        server.process.kill().unwrap();
        server.process.wait().unwrap();
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
    let mut latencies = Vec::new();
    let mut answer = vec![0; 16 * 1024];
    while Instant::now() < ends {
        count.set(count.get() + 1);
        let request = request(kind, count.get());
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

async fn read_answer<'b>(stream: &mut TcpStream, buffer: &'b mut [u8]) -> &'b str {
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..]).await.unwrap();
        assert!(read > 0, "the program hung up");
        length += read;
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let Some(head) = text.find("\r\n\r\n") else {
            continue;
        };
        let announced = text.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .map(str::to_owned)
        });
        let body: usize = announced.unwrap().trim().parse().unwrap();
        if length >= head + 4 + body {
            return std::str::from_utf8(&buffer[..length]).unwrap();
        }
    }
}

/// A push of a commit that no other request has, signed.
fn request(kind: Kind, number: u64) -> Vec<u8> {
    let repo = match kind {
        Kind::Ignored => "acme/elsewhere",
        Kind::Forged | Kind::Accepted | Kind::Plain | Kind::OneByOne => "acme/website",
    };
    let body = push(repo, number);
    let mut mac = Hmac::<Sha256>::new_from_slice(match kind {
        Kind::Forged => b"another secret",
        Kind::Ignored | Kind::Accepted | Kind::Plain | Kind::OneByOne => SECRET.as_bytes(),
    })
    .unwrap();
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!(
        "POST /hooks/github HTTP/1.1\r\nHost: localhost\r\nUser-Agent: GitHub-Hookshot/0a1b2c3\r\nAccept: */*\r\n\
         X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-{number:012x}\r\nX-GitHub-Event: push\r\n\
         X-GitHub-Hook-ID: 292430182\r\nX-GitHub-Hook-Installation-Target-ID: 1000\r\n\
         X-GitHub-Hook-Installation-Target-Type: repository\r\nX-Hub-Signature-256: sha256={signature}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A push's body in the form GitHub gives it, of [`BODY`] bytes.
fn push(repo: &str, number: u64) -> String {
    let (before, after) = (number, number + 1);
    let start = format!(
        r#"{{"ref":"refs/heads/main","before":"{before:040x}","after":"{after:040x}","created":false,"deleted":false,"forced":false,"base_ref":null,"compare":"https://github.com/{repo}/compare/{before:012x}...{after:012x}","commits":[{{"id":"{after:040x}","tree_id":"{number:040x}","distinct":true,"message":"Say when the shop is closed","timestamp":"2026-11-20T09:30:00+01:00","url":"https://github.com/{repo}/commit/{after:040x}","author":{{"name":"Ada Example","email":"ada@example.com","username":"ada"}},"committer":{{"name":"Ada Example","email":"ada@example.com","username":"ada"}},"added":[],"removed":[],"modified":["content/shop/_index.md","content/posts/{number}.md"]}}],"head_commit":{{"id":"{after:040x}","tree_id":"{number:040x}"}},"pusher":{{"name":"ada","email":"ada@example.com"}},"repository":{{"id":1000,"name":"website","full_name":"{repo}","private":true,"default_branch":"main","#
    );
    // What else GitHub says of a repository and its sender are some hundred addresses.
    let mut body = start;
    let mut address = 0;
    while body.len() < BODY - 140 {
        address += 1;
        body.push_str(&format!(
            r#""address_{address}_url":"https://api.github.com/repos/{repo}/address-{address}{{/sha}}","#
        ));
    }
    let filling = BODY - body.len() - r#""filling":""}}"#.len();
    body.push_str(&format!(r#""filling":"{}"}}}}"#, "x".repeat(filling)));
    body
}

/// The program, serving.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(program: &Path, kind: Kind, directory: &Path) -> Self {
        let rules = directory.join("rules.yaml");
        fs::write(&rules, rules_file()).unwrap();
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0"]).current_dir(directory);
        match kind.plain() {
            Some(how) => command
                .arg(std::env::current_exe().unwrap())
                .env(PLAIN, how),
            None => command
                .arg(program)
                .args(["serve", "--listen", "127.0.0.1:0"])
                .args([
                    "--rules",
                    "rules.yaml",
                    "--database",
                    "sqlite://purgehook.db",
                ]),
        };
        let mut process = command
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
            )
            .stderr(Stdio::piped())
            .spawn()
            .expect("taskset (util-linux) must be there");
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "the program did not start"
            );
            if let Some((_, rest)) = line.split_once("listening on http://") {
                break rest.split('"').next().unwrap().trim().to_owned();
            }
        };
        // The log is read and thrown away, as something in production would read it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address }
    }

    /// CPU time of the whole process so far, of the kernel on its behalf too.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // Behind the name, which may hold anything: fields 14 and 15 of proc(5).
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .map(|text| text.parse::<f64>().unwrap())
            .sum();
        Duration::from_secs_f64(ticks / TICKS)
    }

    /// The most memory that was resident at one time.
    fn memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn rules_file() -> String {
    format!(
        "
forges:
  github: {{kind: github, secrets: [{SECRET}]}}
cdns:
  cdn: {{kind: tencent-cdn, secret_id: i, secret_key: k, endpoint: 'http://127.0.0.1:9'}}
sites:
  www:
    repo: github:acme/website
    base_urls: [https://www.example.com]
    cdns: [cdn]
    rules:
      - {{match: ['content/**/*.md'], strip: content/, urls: ['/{{page}}']}}
"
    )
}

/// Keeps a process's first thread on one core.
fn pin(process: u32, core: u32) {
    let done = Command::new("taskset")
        .args([
            "--cpu-list",
            "--pid",
            &core.to_string(),
            &process.to_string(),
        ])
        .stdout(Stdio::null())
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "cannot use the core {core}"
    );
}
