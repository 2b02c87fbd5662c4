//! The binary, its database and its surroundings.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use purgehook::clock::Clock;
use purgehook::http::Outbound;
use purgehook::sandbox::{Area, Delivery, PostedStatus, Repository, Sandbox};
use serde_json::Value;
use tempfile::TempDir;

use crate::places::{self, Place};
use crate::postgres;

/// How long anything may take before a test gives up on it: longer than a lease, which some wait for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The rules file of these tests; what is in capitals comes from the environment.
const RULES: &str = r#"
server:
  listen: ${LISTEN}
  database: ${DATABASE}
  public_url: https://purge.example.com
  admin_token: an-admin-token-of-the-tests
forges:
  github:
    kind: github
    secrets: ["${GITHUB_SECRET}"]
    token: ${GITHUB_TOKEN}
    api_url: ${GITHUB_URL}
  gitlab:
    kind: gitlab
    signing_tokens: ["${GITLAB_SIGNING_TOKEN}"]
    token: ${GITLAB_TOKEN}
    api_url: ${GITLAB_URL}
cdns:
  tencent:
    kind: tencent-cdn
    secret_id: ${TENCENT_ID}
    secret_key: ${TENCENT_KEY}
    endpoint: ${TENCENT_URL}
sites:
  www:
    repo: github:acme/website
    branches: [main]
    base_urls: ["https://www.example.com"]
    cdns: [tencent]
    status: {context: cdn/purge}
    settle: ${SETTLE}
    ignore: ["**/README.md"]
    rules:
      - name: pages
        match: ["content/**/*.md"]
        strip: content/
        urls: ["/{page}"]
      - name: files
        match: ["static/**"]
        strip: static/
        urls: ["/{path}"]
        prefetch: ["/{path}"]
      - name: theme
        match: ["layouts/**"]
        directories: ["/"]
        mode: delete
  docs:
    repo: gitlab:acme/handbook/docs
    branches: [main]
    base_urls: ["https://docs.example.com"]
    cdns: [tencent]
    rules:
      - name: pages
        match: ["docs/**/*.md"]
        strip: docs/
        urls: ["/{page}"]
  # One of its hosts is not on the account.
  blog:
    repo: github:acme/blog
    branches: [main]
    base_urls: ["https://www.example.com", "https://gone.example.com"]
    cdns: [tencent]
    rules:
      - name: posts
        match: ["posts/*.md"]
        urls: ["/{page}"]
"#;

/// A forge, a CDN, a database and a rules file; the program comes and goes, in
/// as many replicas as there are. What names no replica is done with the first.
pub struct World {
    pub sandbox: Sandbox,
    http: reqwest::Client,
    /// The token that pages and API are asked with.
    read_token: Option<String>,
    folder: TempDir,
    database: String,
    settle: &'static str,
    /// Further variables of the program's environment.
    variables: Vec<(String, String)>,
    replicas: Vec<Replica>,
    /// The test's place among those that work.
    place: Mutex<Option<Place>>,
}

/// What a delivery was answered.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Value,
}

/// One program, running or not, at an address that it keeps.
struct Replica {
    port: u16,
    program: Option<Child>,
}

impl Replica {
    fn new() -> Self {
        // Free at this moment, and asked for again right away: a restart needs the same one. So
        // it is none of those that the system gives to outgoing connections, nor another world's.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = u16::try_from(std::process::id() % 200).unwrap() * 100;
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let mut ports = std::iter::repeat_with(|| {
            10_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000
        });
        Self {
            port: ports.by_ref().take(22_000).find(free).unwrap(),
            program: None,
        }
    }
}

impl World {
    /// Everything but the program, with SQLite.
    pub async fn new() -> Self {
        Self::at(places::take().await).await
    }

    async fn at(place: Place) -> Self {
        let world = Self::without_place().await;
        *world.place.lock().unwrap() = Some(place);
        world
    }

    /// As [`new`](Self::new), for a test with many worlds, which takes one place for all of them.
    pub async fn without_place() -> Self {
        let folder = TempDir::new().unwrap();
        let database = format!("sqlite://{}", folder.path().join("purgehook.db").display());
        Self::on(database, folder, 1).await
    }

    /// Everything but the programs, with PostgreSQL.
    pub async fn with_replicas(count: usize) -> Self {
        Self::with_replicas_on(postgres::new_database().await, count).await
    }

    /// Everything but the programs, with a database on PostgreSQL.
    pub async fn with_replicas_on(database: String, count: usize) -> Self {
        let place = places::take().await;
        let world = Self::on(database, TempDir::new().unwrap(), count).await;
        *world.place.lock().unwrap() = Some(place);
        world
    }

    async fn on(database: String, folder: TempDir, replicas: usize) -> Self {
        let sandbox = Sandbox::start(Clock::system()).await.unwrap();
        let cdn = sandbox.tencent_cdn();
        cdn.add_domain("www.example.com", Area::Mainland);
        cdn.add_domain("docs.example.com", Area::Mainland);
        cdn.set_duration(Duration::from_millis(300));
        std::fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
        let http = Outbound::new(Clock::system()).unwrap().http;
        Self {
            sandbox,
            http,
            read_token: None,
            folder,
            database,
            settle: "10m",
            variables: Vec::new(),
            replicas: (0..replicas).map(|_| Replica::new()).collect(),
            place: Mutex::default(),
        }
    }

    /// Leaves the test's place to another: what comes now is mostly waiting.
    pub fn step_aside(&self) {
        *self.place.lock().unwrap() = None;
    }

    /// Sets a variable of the program's environment from the next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Where the database is, as `--database` takes it; to be changed before the start.
    pub fn database(&mut self) -> &mut String {
        &mut self.database
    }

    /// The folder with the rules file, the log and, for SQLite, the database.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces a part of the rules file that stands there once.
    pub fn edit_rules(&self, from: &str, to: &str) {
        let path = self.rules_path();
        let rules = std::fs::read_to_string(&path).unwrap();
        assert_eq!(rules.matches(from).count(), 1, "{from}");
        std::fs::write(path, rules.replace(from, to)).unwrap();
    }

    /// Where the rules file is.
    pub fn rules_path(&self) -> PathBuf {
        self.folder.path().join("rules.yaml")
    }

    /// Asks for pages and the API with a token from now on.
    pub fn read_with(&mut self, token: &str) {
        self.read_token = Some(token.to_owned());
    }

    fn get_request(&self, url: String) -> reqwest::RequestBuilder {
        let request = self.http.get(url);
        match &self.read_token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// What an address answers, as text.
    pub async fn text(&self, path: &str) -> String {
        let asked = self.get_request(format!("{}{path}", self.base()));
        asked.send().await.unwrap().text().await.unwrap()
    }

    /// Waits until an address answers with a text in it.
    pub async fn answers(&self, path: &str, part: &str) {
        let started = Instant::now();
        loop {
            let text = self.text(path).await;
            if text.contains(part) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{path} answers {text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until an address answers anything.
    pub async fn answers_at_all(&self, path: &str) {
        let started = Instant::now();
        while self.get(path).await.is_none() {
            assert!(started.elapsed() < PATIENCE, "{path} does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// From the next start on, what was purged is let go of at once.
    pub fn settle_at_once(&mut self) {
        self.settle = "0s";
    }

    /// Everything, with the program serving.
    pub async fn serving() -> Self {
        let mut world = Self::new().await;
        world.start().await;
        world
    }

    /// As [`serving`](Self::serving), while no other test here computes: for what takes long on one core already.
    pub async fn serving_alone() -> Self {
        let mut world = Self::at(places::take_all().await).await;
        world.start().await;
        world
    }

    /// Starts `purgehook serve` and waits until it is ready.
    pub async fn start(&mut self) {
        self.start_replica(0).await;
    }

    /// Starts the program to die at a commit, `before:N` or `after:N`. Returns once it answers or is dead.
    pub async fn start_to_die(&mut self, at: &str) {
        self.variables
            .push(("PURGEHOOK_CRASH_AT".to_owned(), at.to_owned()));
        self.spawn(0);
        self.variables
            .retain(|(name, _)| name != "PURGEHOOK_CRASH_AT");
        let started = Instant::now();
        // Readiness is a write, and would count.
        while !self.has_died() && self.get("/healthz").await.is_none() {
            assert!(started.elapsed() < PATIENCE, "it does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the program has killed itself.
    pub fn has_died(&mut self) -> bool {
        let program = self.replicas[0].program.as_mut();
        let Some(status) = program.and_then(|child| child.try_wait().unwrap()) else {
            return false;
        };
        assert_eq!(status.signal(), Some(9), "{status}:\n{}", self.log());
        true
    }

    /// Returns once it has.
    pub async fn until_it_has_died(&mut self) {
        let started = Instant::now();
        while !self.has_died() {
            assert!(started.elapsed() < PATIENCE, "it does not die");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How the program has ended, once it has by itself.
    pub async fn ended_by_itself(&mut self) -> ExitStatus {
        let program = self.replicas[0].program.as_mut();
        let program = program.expect("the program is running");
        let started = Instant::now();
        loop {
            if let Some(status) = program.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The program's memory in kB, by its name in `/proc`.
    pub fn memory_kb(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc_file("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.unwrap().trim_matches(|c: char| !c.is_ascii_digit());
        number.parse().unwrap()
    }

    /// How many sockets the running program has open.
    pub fn sockets(&self) -> usize {
        let descriptors = std::fs::read_dir(self.proc_file("fd")).unwrap();
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// What the system says of the running program, by the name of the file that has it.
    fn proc_file(&self, name: &str) -> PathBuf {
        let program = self.replicas[0].program.as_ref();
        let id = program.expect("the program is running").id();
        PathBuf::from(format!("/proc/{id}/{name}"))
    }

    /// As [`start`](Self::start), for one replica.
    pub async fn start_replica(&mut self, replica: usize) {
        self.spawn(replica);
        let started = Instant::now();
        while self
            .get_from(replica, "/readyz")
            .await
            .is_none_or(|(status, _)| status != 200)
        {
            if let Some(status) = self.replicas[replica]
                .program
                .as_mut()
                .and_then(|child| child.try_wait().unwrap())
            {
                panic!("the program ended with {status}:\n{}", self.log());
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the program is not ready:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn spawn(&mut self, replica: usize) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let serve = self.command(replica, &["serve"]);
        // As with a disk, it is the write that fails where there is no room: no signal.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"trap "" XFSZ; exec "$0" serve"#])
            .arg(serve.get_program());
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let child = shell.stderr(log).stdout(Stdio::null()).spawn().unwrap();
        self.replicas[replica].program = Some(child);
    }

    /// SIGKILL: no warning, no goodbye.
    pub fn kill(&mut self) {
        self.kill_replica(0);
    }

    /// As [`kill`](Self::kill), for one replica.
    pub fn kill_replica(&mut self, replica: usize) {
        let program = self.replicas[replica].program.take();
        let mut child = program.expect("the program is running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; how the program ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.terminate_replica(0).await
    }

    /// As [`terminate`](Self::terminate), for one replica.
    pub async fn terminate_replica(&mut self, replica: usize) -> ExitStatus {
        self.signal(replica, "TERM");
        let program = self.replicas[replica].program.take();
        let mut child = program.expect("the program is running");
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the program does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// From now on no file grows, as on a full disk; or they grow again.
    pub fn let_files_grow(&self, grow: bool) {
        let program = self.replicas[0].program.as_ref();
        let id = program.expect("the program is running").id();
        let limit = if grow { "unlimited" } else { "0" };
        let set = Command::new("prlimit")
            .arg(format!("--pid={id}"))
            .arg(format!("--fsize={limit}:"))
            .status()
            .expect("prlimit is here (Debian: util-linux)");
        assert!(set.success());
    }

    /// Sends a replica a signal, by the name that `kill` knows it by.
    pub fn signal(&self, replica: usize, name: &str) {
        let program = self.replicas[replica].program.as_ref();
        let id = program.expect("the program is running").id();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id.to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// The output of another command of the program, with text on its standard input.
    pub fn run(&self, args: &[&str], input: &str) -> Output {
        let input_path = self.folder.path().join("input");
        std::fs::write(&input_path, input).unwrap();
        self.command(0, args)
            .stdin(File::open(input_path).unwrap())
            .output()
            .unwrap()
    }

    /// What a command line shows on a terminal, in the program's environment.
    pub fn in_terminal(&self, line: &str) -> Vec<u8> {
        let program = self.command(0, &[]);
        let mut script = Command::new("script");
        script.args(["--quiet", "--command", line, "/dev/null"]);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.stdin(Stdio::null()).output().unwrap().stdout
    }

    /// A repository on the sandbox's GitHub whose branch `main` stands somewhere already.
    pub fn website(&self) -> Repository {
        let repo = self.sandbox.github().create_repo("acme/website", "main");
        let first = [
            "content/_index.md",
            "content/about.md",
            "static/app.css",
            "static/app.js",
            "README.md",
        ];
        let changes: Vec<_> = first
            .iter()
            .map(|path| purgehook::sandbox::Change::write(path, "first"))
            .collect();
        repo.commit("main", &changes);
        repo.push("main");
        repo
    }

    /// A repository on the sandbox's GitLab whose branch `main` stands somewhere already.
    pub fn docs(&self) -> Repository {
        let repo = self
            .sandbox
            .gitlab()
            .create_repo("acme/handbook/docs", "main");
        repo.commit(
            "main",
            &[purgehook::sandbox::Change::write("docs/page.md", "first")],
        );
        repo.push("main");
        repo
    }

    /// Sends a delivery: the HTTP status and the JSON that came back.
    pub async fn send(&self, delivery: &Delivery) -> (u16, Value) {
        delivery.send(&self.base()).await.unwrap()
    }

    /// Sends a delivery; all there is to say of the answer.
    pub async fn answer_to(&self, delivery: &Delivery) -> Answer {
        let mut request = self.http.post(format!("{}{}", self.base(), delivery.path));
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        let answer = request.body(delivery.body.clone()).send().await.unwrap();
        let retry_after = answer.headers().get("retry-after");
        Answer {
            status: answer.status().as_u16(),
            retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()),
            body: answer.json().await.unwrap(),
        }
    }

    /// Sends a delivery that must be accepted: the id of its one run.
    pub async fn accepted(&self, delivery: &Delivery) -> String {
        let (status, answer) = self.send(delivery).await;
        assert_eq!(status, 202, "{answer}");
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        answer["runs"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A page or an API answer; none while nobody answers. JSON null if it is not JSON.
    pub async fn get(&self, path: &str) -> Option<(u16, Value)> {
        self.get_from(0, path).await
    }

    /// As [`get`](Self::get), from one replica.
    pub async fn get_from(&self, replica: usize, path: &str) -> Option<(u16, Value)> {
        let answer = self
            .get_request(format!("{}{path}", self.base_of(replica)))
            .send()
            .await
            .ok()?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// A run as the API shows it, once it has ended and its last status is on the commit.
    pub async fn ended(&self, run: &str) -> Value {
        let started = Instant::now();
        loop {
            let (status, shown) = self.get(&format!("/api/v1/runs/{run}")).await.unwrap();
            assert_eq!(status, 200, "{shown}");
            let posted = shown["statuses"]
                .as_array()
                .and_then(|statuses| statuses.last())
                .is_some_and(|last| last["posted_at"].is_string() || last["error"].is_string());
            if shown["state"] != "pending" && posted {
                return self.whole(shown).await;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the run does not end: {shown:#}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A run with what the further pages of it hold.
    async fn whole(&self, mut shown: Value) -> Value {
        while let Some(cursor) = shown["next"].as_str() {
            let path = format!(
                "/api/v1/runs/{}?cursor={cursor}",
                shown["id"].as_str().unwrap()
            );
            let (_, mut page) = self.get(&path).await.unwrap();
            for list in ["/purges", "/changes/paths"] {
                let further = page.pointer_mut(list).unwrap().take();
                let whole = shown.pointer_mut(list).unwrap().as_array_mut().unwrap();
                whole.extend(further.as_array().unwrap().clone());
            }
            shown["next"] = page["next"].take();
        }
        shown
    }

    /// Every run with its purges, once it has ended.
    pub async fn all_runs(&self) -> Vec<Value> {
        let mut runs = Vec::new();
        let mut page = "/api/v1/runs?limit=100".to_owned();
        loop {
            let (_, listed) = self.get(&page).await.unwrap();
            for run in listed["runs"].as_array().unwrap() {
                runs.push(self.ended(run["id"].as_str().unwrap()).await);
            }
            match listed["next"].as_str() {
                Some(next) => page = format!("/api/v1/runs?limit=100&cursor={next}"),
                None => return runs,
            }
        }
    }

    /// What a commit shows in the end: another run may speak for the one that a push made.
    pub async fn shown(&self, repo: &Repository, commit: &str) -> String {
        let started = Instant::now();
        loop {
            let shown = repo.statuses(commit);
            // GitLab shows a second text of what is not over as running.
            let last = shown.last().map(|status| status.state.as_str());
            if let Some(last) = last.filter(|state| !["pending", "running"].contains(state)) {
                return last.to_owned();
            }
            if started.elapsed() >= PATIENCE {
                let runs = self.text(&format!("/api/v1/runs?commit={commit}")).await;
                panic!(
                    "{commit} does not show how it ended, but {shown:#?}; its runs: {runs}\n{}",
                    self.log()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !so(self) {
            assert!(
                started.elapsed() < PATIENCE,
                "still not: {what}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the program has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn base(&self) -> String {
        self.base_of(0)
    }

    pub fn base_of(&self, replica: usize) -> String {
        format!("http://127.0.0.1:{}", self.replicas[replica].port)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn command(&self, replica: usize, args: &[&str]) -> Command {
        let (github, gitlab, tencent) = (
            self.sandbox.github(),
            self.sandbox.gitlab(),
            self.sandbox.tencent_cdn(),
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_purgehook"));
        command
            .args(args)
            .env_remove("RUST_LOG")
            .env("PURGEHOOK_RULES", self.folder.path().join("rules.yaml"))
            .env(
                "LISTEN",
                format!("127.0.0.1:{}", self.replicas[replica].port),
            )
            .env("DATABASE", &self.database)
            .env("SETTLE", self.settle)
            .env("GITHUB_URL", github.url())
            .env("GITHUB_SECRET", github.webhook_secret())
            .env("GITHUB_TOKEN", github.token())
            .env("GITLAB_URL", gitlab.url())
            .env("GITLAB_SIGNING_TOKEN", gitlab.signing_token())
            .env("GITLAB_TOKEN", gitlab.token())
            .env("TENCENT_URL", tencent.url())
            .env("TENCENT_ID", tencent.secret_id())
            .env("TENCENT_KEY", tencent.secret_key())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for replica in &mut self.replicas {
            if let Some(mut child) = replica.program.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// The states that a commit was shown, oldest first.
pub fn states(statuses: &[PostedStatus]) -> Vec<&str> {
    statuses
        .iter()
        .map(|status| status.state.as_str())
        .collect()
}

/// The targets of a run's purges of one kind, sorted.
pub fn targets(run: &Value, kind: &str) -> Vec<String> {
    let mut targets: Vec<String> = run["purges"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|purge| purge["kind"] == kind)
        .map(|purge| purge["target"].as_str().unwrap().to_owned())
        .collect();
    targets.sort();
    targets
}
