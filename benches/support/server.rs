//! Programs that serve, as the benches start them: alone on the first core, so that those who ask have the other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::iter::Sum;
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Clock ticks in a second, in which Linux counts a process's CPU time (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// What is measured: `PURGEHOOK_BIN`, or else the build of the bench itself.
pub fn program() -> PathBuf {
    let program = std::env::var("PURGEHOOK_BIN")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_purgehook").to_owned());
    fs::canonicalize(&program).unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// A program that serves, until it is stopped.
pub struct Server {
    process: Child,
    pub address: String,
}

/// What a process used.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// CPU time of the whole process, of the kernel on its behalf too.
    pub cpu: Duration,
    /// Bytes given to `write` and its like, for files and for sockets (`wchar` of `proc_pid_io(5)`).
    pub written: u64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            written: self.written - before.written,
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            cpu: sum.cpu + one.cpu,
            written: sum.written + one.written,
        })
    }
}

impl Server {
    /// purgehook with the rules file `rules.yaml` of a directory, and a database.
    pub fn purgehook(directory: &Path, database: &str) -> Self {
        Self::purgehook_of(&program(), directory, database, |command| command)
    }

    /// The same, of another build, and with more to its command.
    pub fn purgehook_of(
        program: &Path,
        directory: &Path,
        database: &str,
        more: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let arguments = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--rules",
            "rules.yaml",
            "--database",
            database,
        ];
        Self::start(directory, |command| {
            more(command.arg(program).args(arguments))
        })
    }

    /// A program that logs its address as purgehook does.
    pub fn start(directory: &Path, program: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", "0"])
            .current_dir(directory)
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
            )
            .stderr(Stdio::piped());
        let mut process = program(&mut command)
            .spawn()
            .expect("taskset (util-linux) must be there");
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = String::new();
        let address = loop {
            let end = lines.len();
            assert!(
                log.read_line(&mut lines).unwrap() > 0,
                "the program did not start:\n{lines}"
            );
            if let Some((_, rest)) = lines[end..].split_once("listening on http://") {
                break rest.split('"').next().unwrap().trim().to_owned();
            }
        };
        // The log is read and thrown away, as something in production would read it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it used so far.
    pub fn usage(&self) -> Usage {
        Usage {
            cpu: self.cpu(),
            written: self.written(),
        }
    }

    /// CPU time of the whole process so far, of the kernel on its behalf too.
    pub fn cpu(&self) -> Duration {
        cpu_in(&self.told("stat"), 2)
    }

    fn written(&self) -> u64 {
        let io = self.told("io");
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        line.unwrap().parse().unwrap()
    }

    /// A figure of `/proc/PID/status` in kB, such as `VmRSS`, or `VmHWM`: the most that was resident at one time.
    pub fn memory_kb(&self, name: &str) -> u64 {
        let status = self.told("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// What Linux tells of the process.
    fn told(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.id())).unwrap()
    }

    /// Stops it, as a service manager does.
    pub fn stop(mut self) {
        let id = self.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
    }
}

/// Moves a process, with all that it starts from then on, to the core of the programs that serve.
pub fn move_to_first_core(process: u32) {
    let moved = Command::new("taskset")
        .args(["--cpu-list", "--pid", "0", &process.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(moved.unwrap().success());
}

/// CPU time by a process's `stat`: of its own (two fields, user and system), or with its children that ended (four).
pub fn cpu_in(stat: &str, fields: usize) -> Duration {
    // Behind the name, which may hold anything: fields 14 to 17 of proc(5).
    let all = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: f64 = all
        .skip(11)
        .take(fields)
        .map(|text| text.parse::<f64>().unwrap())
        .sum();
    Duration::from_secs_f64(ticks / TICKS)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A site whose forge and whose CDN are out of reach, so that nobody else's time is measured.
pub fn rules(secret: &str) -> String {
    format!(
        "
# All who ask are on one machine.
server: {{connections_per_address: 16384}}
forges:
  github: {{kind: github, secrets: [{secret}], api_url: 'http://127.0.0.1:9'}}
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
