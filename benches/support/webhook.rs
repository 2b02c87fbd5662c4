//! Webhooks as GitHub sends them, and their answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub const SECRET: &str = "a secret for measuring only";
/// Bytes of a push's body: about what GitHub sends for a commit or two.
pub const BODY: usize = 7_900;
/// Bytes of a commit's entry in larger bodies.
const COMMIT: usize = 12_000;

/// Addresses that GitHub gives of a repository.
const ADDRESSES: [&str; 37] = [
    "forks",
    "keys{/key_id}",
    "collaborators{/collaborator}",
    "teams",
    "hooks",
    "issues/events{/number}",
    "events",
    "assignees{/user}",
    "branches{/branch}",
    "tags",
    "git/blobs{/sha}",
    "git/tags{/sha}",
    "git/refs{/sha}",
    "git/trees{/sha}",
    "statuses/{sha}",
    "languages",
    "stargazers",
    "contributors",
    "subscribers",
    "subscription",
    "commits{/sha}",
    "git/commits{/sha}",
    "comments{/number}",
    "issues/comments{/number}",
    "contents/{+path}",
    "compare/{base}...{head}",
    "merges",
    "{archive_format}{/ref}",
    "downloads",
    "issues{/number}",
    "pulls{/number}",
    "milestones{/number}",
    "notifications{?since,all,participating}",
    "labels{/name}",
    "releases{/id}",
    "deployments",
    "traffic",
];

/// A request, ready to be sent. What is long and the same for many is kept once.
pub struct Request {
    start: Vec<u8>,
    middle: Arc<[u8]>,
    end: Vec<u8>,
}

impl From<Vec<u8>> for Request {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            start: bytes,
            middle: Arc::default(),
            end: Vec::new(),
        }
    }
}

impl Request {
    /// Sends it.
    pub async fn send(&self, stream: &mut TcpStream) {
        for part in [&self.start, &*self.middle, &self.end] {
            stream.write_all(part).await.unwrap();
        }
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.start, &*self.middle, &self.end].concat()
    }
}

/// A push to a branch.
pub struct Push<'p> {
    pub repo: &'p str,
    pub branch: &'p str,
    pub secret: &'p str,
    /// The last part of the address: the forge's name in the rules file.
    pub forge: &'p str,
    /// Bytes of the body.
    pub size: usize,
}

impl Default for Push<'_> {
    fn default() -> Self {
        Self {
            repo: "acme/website",
            branch: "main",
            secret: SECRET,
            forge: "github",
            size: BODY,
        }
    }
}

impl Push<'_> {
    /// The request for it, signed: the commit `number`, on top of the one before. No other repository has them.
    pub fn request(&self, number: u64) -> Request {
        let body = self.body(number);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        for part in [&body.start, &*body.middle, &body.end] {
            mac.update(part);
        }
        let signature = hex::encode(mac.finalize().into_bytes());
        let length = body.start.len() + body.middle.len() + body.end.len();
        let salt = salt(self.repo);
        let mut start = format!(
            "POST /hooks/{} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: GitHub-Hookshot/0a1b2c3\r\nAccept: */*\r\n\
             X-GitHub-Delivery: {salt:08x}-cc78-11e3-81ab-{number:012x}\r\nX-GitHub-Event: push\r\n\
             X-GitHub-Hook-ID: 292430182\r\nX-GitHub-Hook-Installation-Target-ID: 1000\r\n\
             X-GitHub-Hook-Installation-Target-Type: repository\r\nX-Hub-Signature-256: sha256={signature}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
            self.forge
        )
        .into_bytes();
        start.extend_from_slice(&body.start);
        if !body.middle.is_empty() {
            return Request { start, ..body };
        }
        // In one piece, as it would be sent.
        start.extend_from_slice(&body.end);
        Request::from(start)
    }

    /// A body in the form GitHub gives it, of so many bytes. A large one holds earlier commits that were pushed with it.
    fn body(&self, number: u64) -> Request {
        let (repo, branch) = (self.repo, self.branch);
        let salt = salt(repo);
        let (before, after) = (commit(salt, number), commit(salt, number + 1));
        let mut start = format!(
            r#"{{"ref":"refs/heads/{branch}","before":"{before}","after":"{after}","created":false,"deleted":false,"forced":false,"base_ref":null,"compare":"https://github.com/{repo}/compare/{}...{}","pusher":{{"name":"ada","email":"ada@example.com"}},"sender":{{"login":"ada","id":1,"type":"User"}},"#,
            &before[..12],
            &after[..12],
        );
        let mut last = String::new();
        let modified = [format!("content/posts/{number}.md")];
        entry(&mut last, repo, &after, &modified);
        let rest = r#","commits":["#;
        let end = format!(r#"{last}],"head_commit":{last}}}"#);
        let taken = start.len() + rest.len() + end.len();
        start.push_str(&repository(repo, self.size.min(BODY).saturating_sub(taken)));
        start.push_str(rest);
        Request {
            start: start.into_bytes(),
            middle: earlier_commits(self.size.saturating_sub(BODY)),
            end: end.into_bytes(),
        }
    }

    /// Sends such pushes from a number on, at a pace, on a connection that is kept open, until that is over;
    /// how long each answer took.
    pub async fn repeat(
        &self,
        address: &str,
        first: u64,
        status: &str,
        pace: Duration,
        over: watch::Receiver<bool>,
    ) -> Vec<Duration> {
        let mut stream = connect(address).await;
        let mut answer = vec![0; 16 * 1024];
        let mut latencies = Vec::new();
        for number in first.. {
            if *over.borrow() {
                break;
            }
            let request = self.request(number);
            let sent = Instant::now();
            request.send(&mut stream).await;
            let text = read_answer(&mut stream, &mut answer).await;
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
            latencies.push(sent.elapsed());
            tokio::time::sleep_until((sent + pace).into()).await;
        }
        latencies
    }
}

/// What tells the commits of repositories apart (FNV-1a).
fn salt(repo: &str) -> u32 {
    repo.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn commit(salt: u32, number: u64) -> String {
    // Spread over the whole id, as hashes are: SQLite and lz4 are given nothing for free.
    let mut id = String::with_capacity(40);
    let mut state = (u64::from(salt) << 32) ^ number;
    for digits in [16, 16, 8] {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let hex = format!("{:016x}", mixed ^ (mixed >> 31));
        id.push_str(&hex[..digits]);
    }
    id
}

fn entry(body: &mut String, repo: &str, id: &str, modified: &[String]) {
    let tree: String = id.chars().rev().collect();
    write!(
        body,
        r#"{{"id":"{id}","tree_id":"{tree}","distinct":true,"message":"Say when the shop is closed","timestamp":"2026-11-20T09:30:00+01:00","url":"https://github.com/{repo}/commit/{id}","author":{{"name":"Ada Example","email":"ada@example.com","username":"ada"}},"committer":{{"name":"Ada Example","email":"ada@example.com","username":"ada"}},"added":[],"removed":[],"modified":{modified:?}}}"#
    )
    .unwrap();
}

/// What GitHub says of a repository, in so many bytes: it is made once, and again where another push needs some more.
fn repository(repo: &str, size: usize) -> Arc<str> {
    thread_local! {
        static MADE: RefCell<HashMap<String, (usize, Arc<str>)>> = RefCell::default();
    }
    // Commits' numbers grow.
    const NEAR: usize = 16;
    MADE.with_borrow_mut(|made| {
        if let Some((bytes, text)) = made.get(repo)
            && bytes.abs_diff(size) < NEAR
        {
            return Arc::clone(text);
        }
        let text: Arc<str> = make_repository(repo, size).into();
        made.insert(repo.to_owned(), (size, Arc::clone(&text)));
        text
    })
}

fn make_repository(repo: &str, size: usize) -> String {
    let name = repo.rsplit('/').next().unwrap_or_default();
    let id = salt(repo);
    let mut text = format!(
        r#""repository":{{"id":{id},"name":"{name}","full_name":"{repo}","private":true,"html_url":"https://github.com/{repo}","default_branch":"main","#
    );
    for address in ADDRESSES {
        let key: String = address
            .chars()
            .take_while(|c| *c != '{' && *c != '?')
            .map(|c| if c == '/' { '_' } else { c })
            .collect();
        write!(
            text,
            r#""{key}_url":"https://api.github.com/repos/{repo}/{address}","#
        )
        .unwrap();
    }
    text.push_str(r#""description":""#);
    let mut words = fastrand::Rng::with_seed(u64::from(id));
    while text.len() + 2 < size {
        text.push_str(WORDS[words.usize(..WORDS.len())]);
        text.push(' ');
    }
    text.push_str(r#""}"#);
    text
}

/// Commits that were pushed before the last, in so many bytes. They are made once; of whose repository they are, nobody asks.
fn earlier_commits(size: usize) -> Arc<[u8]> {
    static MADE: Mutex<Option<Arc<[u8]>>> = Mutex::new(None);
    if size == 0 {
        return Arc::default();
    }
    let mut made = MADE.lock().unwrap();
    if let Some(commits) = made.as_ref().filter(|commits| commits.len() >= size)
        && commits.len() < size + COMMIT
    {
        return Arc::clone(commits);
    }
    let mut words = fastrand::Rng::with_seed(1);
    let mut commits = String::with_capacity(size + COMMIT);
    while commits.len() < size {
        let id = commit(1, commits.len() as u64);
        let mut paths = Vec::new();
        let mut length = 0;
        while length < COMMIT - 1_000 {
            let path = path(&mut words);
            length += path.len() + 4;
            paths.push(path);
        }
        entry(&mut commits, "acme/website", &id, &paths);
        commits.push(',');
    }
    let commits: Arc<[u8]> = commits.into_bytes().into();
    *made = Some(Arc::clone(&commits));
    commits
}

const WORDS: [&str; 24] = [
    "about",
    "basket",
    "careers",
    "delivery",
    "events",
    "foundry",
    "garden",
    "handbook",
    "index",
    "journal",
    "kitchen",
    "library",
    "market",
    "news",
    "orders",
    "press",
    "quarterly",
    "recipes",
    "shop",
    "team",
    "updates",
    "visit",
    "winter",
    "yearly",
];

fn path(words: &mut fastrand::Rng) -> String {
    let mut word = || WORDS[words.usize(..WORDS.len())];
    let (section, part, name) = (word(), word(), word());
    format!(
        "content/{section}/{part}/{name}-{}.md",
        words.u32(..100_000)
    )
}

/// Whose turn it is on each connection.
///
/// A site belongs to one connection, so that no two of its pushes are on their way at once: GitHub sends them one
/// after the other, and those that change places are another matter.
pub struct Turns {
    sites: usize,
    /// How many it was so far, by connection.
    taken: RefCell<Vec<usize>>,
}

impl Turns {
    pub fn new(sites: usize, connections: usize) -> Self {
        assert!(connections <= sites);
        Self {
            sites,
            taken: RefCell::new(vec![0; connections]),
        }
    }

    /// The next site on a connection, and how many turns it had.
    pub fn next(&self, connection: usize) -> (usize, usize) {
        let mut taken = self.taken.borrow_mut();
        let connections = taken.len();
        let own = (self.sites - connection).div_ceil(connections);
        let turn = taken[connection];
        taken[connection] += 1;
        (connection + turn % own * connections, turn / own)
    }
}

/// Pushes to several repositories, `acme/site-0` and on, each from where its repository's last one ended.
pub struct Chain {
    repos: Vec<String>,
    turns: Turns,
}

impl Chain {
    pub fn new(repos: usize, connections: usize) -> Self {
        Self {
            repos: (0..repos).map(repo_name).collect(),
            turns: Turns::new(repos, connections),
        }
    }

    /// The next one on a connection. It is of another repository than `push` says.
    pub fn next(&self, push: &Push<'_>, connection: usize) -> Request {
        let (site, number) = self.turns.next(connection);
        let repo = &self.repos[site];
        Push { repo, ..*push }.request(number as u64)
    }
}

/// The repository of a site, by its number.
pub fn repo_name(site: usize) -> String {
    format!("acme/site-{site}")
}

/// A connection that is kept open.
pub async fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// An answer, whole.
pub async fn read_answer<'b>(stream: &mut TcpStream, buffer: &'b mut [u8]) -> &'b str {
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
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then_some(value)
        });
        let body: usize = announced.unwrap().trim().parse().unwrap();
        if length >= head + 4 + body {
            return std::str::from_utf8(&buffer[..length]).unwrap();
        }
    }
}
