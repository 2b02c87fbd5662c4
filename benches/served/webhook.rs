//! Webhooks as GitHub sends them, and their answers.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub const SECRET: &str = "a secret for measuring only";
/// Bytes of a push's body: about what GitHub sends for a commit or two.
pub const BODY: usize = 7_900;

/// A push to a branch.
pub struct Push<'p> {
    pub repo: &'p str,
    pub branch: &'p str,
    pub secret: &'p str,
    /// Bytes of the body.
    pub size: usize,
}

impl Default for Push<'_> {
    fn default() -> Self {
        Self {
            repo: "acme/website",
            branch: "main",
            secret: SECRET,
            size: BODY,
        }
    }
}

impl Push<'_> {
    /// The request for it, signed, of a commit that no other number has.
    pub fn request(&self, number: u64) -> Vec<u8> {
        let body = body(self.repo, self.branch, number, self.size);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let mut request = format!(
            "POST /hooks/github HTTP/1.1\r\nHost: localhost\r\nUser-Agent: GitHub-Hookshot/0a1b2c3\r\nAccept: */*\r\n\
             X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-{number:012x}\r\nX-GitHub-Event: push\r\n\
             X-GitHub-Hook-ID: 292430182\r\nX-GitHub-Hook-Installation-Target-ID: 1000\r\n\
             X-GitHub-Hook-Installation-Target-Type: repository\r\nX-Hub-Signature-256: sha256={signature}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        request.push_str(&body);
        request.into_bytes()
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
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answer = vec![0; 16 * 1024];
        let mut latencies = Vec::new();
        for number in first.. {
            if *over.borrow() {
                break;
            }
            let request = self.request(number);
            let sent = Instant::now();
            stream.write_all(&request).await.unwrap();
            let text = read_answer(&mut stream, &mut answer).await;
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
            latencies.push(sent.elapsed());
            tokio::time::sleep_until((sent + pace).into()).await;
        }
        latencies
    }
}

/// A push's body in the form GitHub gives it, of so many bytes: what else it would say of a repository
/// and its sender are some hundred addresses, and what is over is one long text.
fn body(repo: &str, branch: &str, number: u64, size: usize) -> String {
    let (before, after) = (number, number + 1);
    let start = format!(
        r#"{{"ref":"refs/heads/{branch}","before":"{before:040x}","after":"{after:040x}","created":false,"deleted":false,"forced":false,"base_ref":null,"compare":"https://github.com/{repo}/compare/{before:012x}...{after:012x}","commits":[{{"id":"{after:040x}","tree_id":"{number:040x}","distinct":true,"message":"Say when the shop is closed","timestamp":"2026-11-20T09:30:00+01:00","url":"https://github.com/{repo}/commit/{after:040x}","author":{{"name":"Ada Example","email":"ada@example.com","username":"ada"}},"committer":{{"name":"Ada Example","email":"ada@example.com","username":"ada"}},"added":[],"removed":[],"modified":["content/shop/_index.md","content/posts/{number}.md"]}}],"head_commit":{{"id":"{after:040x}","tree_id":"{number:040x}"}},"pusher":{{"name":"ada","email":"ada@example.com"}},"repository":{{"id":1000,"name":"website","full_name":"{repo}","private":true,"default_branch":"main","#
    );
    let mut body = start;
    let mut address = 0;
    while body.len() < size.min(BODY) - 140 {
        address += 1;
        body.push_str(&format!(
            r#""address_{address}_url":"https://api.github.com/repos/{repo}/address-{address}{{/sha}}","#
        ));
    }
    let filling = size - body.len() - r#""filling":""}}"#.len();
    body.push_str(&format!(r#""filling":"{}"}}}}"#, "x".repeat(filling)));
    body
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
