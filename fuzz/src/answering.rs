//! An API on loopback that answers with what a fuzzer made up.
//!
//! Answers stand one behind the other, with a byte 0x1E between them. The first line of each has the HTTP status and
//! headers, with `|` between them; the rest is the body. The last one is given again and again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use purgehook::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::surroundings::{everything, outbound};

/// More requests than any one call may need, whatever it is told.
const MOST_REQUESTS: usize = 20_000;
/// How long a call may take, in which nothing but answers is waited for.
const LONGEST: Duration = Duration::from_secs(60);

/// The program's clients, and the API that they ask.
pub struct Answering {
    runtime: Runtime,
    tasks: LocalSet,
    answers: Rc<RefCell<Answers>>,
    pub config: Config,
}

#[derive(Default)]
struct Answers {
    left: Vec<Vec<u8>>,
    asked: Vec<String>,
}

impl Answering {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let tasks = LocalSet::new();
        let answers = Rc::<RefCell<Answers>>::default();
        let given = Rc::clone(&answers);
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("its address");
        tasks.spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(serve(stream, Rc::clone(&given)));
            }
        });
        let config =
            runtime.block_on(async { everything(&format!("http://{address}"), &outbound()) });
        Self {
            runtime,
            tasks,
            answers,
            config,
        }
    }

    /// Makes calls that are given these answers; what was asked, as method and target.
    pub fn during<T>(
        &self,
        data: &[u8],
        calls: impl AsyncFnOnce(&Config) -> T,
    ) -> (T, Vec<String>) {
        *self.answers.borrow_mut() = Answers {
            left: data.split(|byte| *byte == 0x1e).rev().map(answer).collect(),
            asked: Vec::new(),
        };
        let calls = async { tokio::time::timeout(LONGEST, calls(&self.config)).await };
        let made = self.tasks.block_on(&self.runtime, calls);
        let asked = std::mem::take(&mut self.answers.borrow_mut().asked);
        assert!(asked.len() < MOST_REQUESTS, "requests without end");
        (made.expect("an end of the calls"), asked)
    }
}

impl Default for Answering {
    fn default() -> Self {
        Self::new()
    }
}

/// One answer as it goes over the wire.
fn answer(data: &[u8]) -> Vec<u8> {
    let (head, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &data[..0]),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split('|');
    let status = lines.next().and_then(|text| text.parse().ok());
    let status = status
        .filter(|status| (200..600).contains(status))
        .unwrap_or(200);
    let mut wire = format!("HTTP/1.1 {status} Said\r\n");
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let framing = [
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
        ];
        let good = !name.is_empty() && name.bytes().all(token);
        if good && !framing.contains(&name.to_ascii_lowercase().as_str()) {
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let bodiless = matches!(status, 204 | 304);
    let body = if bodiless { &body[..0] } else { body };
    if !bodiless {
        wire.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    wire.push_str("\r\n");
    let mut wire = wire.into_bytes();
    wire.extend(body);
    wire
}

/// Reads requests and answers them, until the other side hangs up.
async fn serve(mut stream: TcpStream, answers: Rc<RefCell<Answers>>) {
    let mut read = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let text = String::from_utf8_lossy(&read[..head]).into_owned();
        let length = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0);
        while read.len() < head + length {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        read.drain(..head + length);
        let wire = {
            let mut answers = answers.borrow_mut();
            let line = text.lines().next().unwrap_or_default();
            answers
                .asked
                .push(line.trim_end_matches(" HTTP/1.1").to_owned());
            if answers.asked.len() >= MOST_REQUESTS {
                return;
            }
            match answers.left.len() {
                0 => return,
                1 => answers.left[0].clone(),
                _ => answers.left.pop().unwrap_or_default(),
            }
        };
        if stream.write_all(&wire).await.is_err() {
            return;
        }
    }
}
