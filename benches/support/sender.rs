//! Who sends: so many connections that are kept busy, or a rate that does not wait for answers.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::sleep_until;

use super::figures::Times;
use super::server::{Server, Usage};
use super::webhook::{Request, connect, read_answer};

/// What is sent, how, and for how long.
#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    /// Requests a second; none: each connection sends the next as soon as the last is answered.
    pub rate: Option<f64>,
    pub warm_up: Duration,
    pub time: Duration,
    /// When to stop before that is over: after so many requests.
    pub most: Option<u64>,
    /// What each must be answered.
    pub status: &'static str,
}

/// What came of it after the warm-up.
pub struct Sent {
    /// From when a request was due until it was answered.
    pub times: Times,
    /// All that were answered, those of the warm-up too.
    pub answered: u64,
    /// From the first request to the last answer.
    pub took: Duration,
    /// What the program used meanwhile.
    pub used: Usage,
}

impl Load {
    /// Sends requests to replicas of a program in turn, and measures what comes after the warm-up. The next
    /// request on a connection is made when it is free.
    pub async fn put_on(&self, replicas: &[Server], next: impl Fn(usize) -> Request) -> Sent {
        let began = Instant::now();
        let begins = began + self.warm_up;
        let ends = begins + self.time;
        let sender = Sender {
            expected: format!("HTTP/1.1 {} ", self.status),
            next,
            due: match self.rate {
                None => Due::AtOnce,
                Some(rate) => Due::AtTicks(Mutex::new(ticks(rate, ends))),
            },
            left: Cell::new(self.most.unwrap_or(u64::MAX)),
            begins,
            ends,
        };
        let done = Notify::new();
        let sends = async {
            let sent = join_all(
                replicas
                    .iter()
                    .cycle()
                    .take(self.connections)
                    .enumerate()
                    .map(|(number, replica)| sender.connection(number, &replica.address)),
            )
            .await;
            done.notify_one();
            sent
        };
        let used = async {
            sleep_until(begins.into()).await;
            let before = usage(replicas);
            tokio::select! {
                () = sleep_until(ends.into()) => {}
                () = done.notified() => {}
            }
            usage(replicas) - before
        };
        let (sent, used) = tokio::join!(sends, used);
        let answered = sent.iter().map(|(answered, _)| answered).sum();
        let times: Vec<Duration> = sent.into_iter().flat_map(|(_, times)| times).collect();
        Sent {
            times: times.into(),
            answered,
            took: began.elapsed(),
            used,
        }
    }
}

/// When the next request goes out, on whichever connection is free.
enum Due {
    AtOnce,
    AtTicks(Mutex<mpsc::UnboundedReceiver<Instant>>),
}

/// Says when requests are due, from a thread of its own: the runtime's timers count in milliseconds.
fn ticks(rate: f64, ends: Instant) -> mpsc::UnboundedReceiver<Instant> {
    let (tell, due) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let began = Instant::now();
        for n in 0_u32.. {
            let at = began + Duration::from_secs_f64(f64::from(n) / rate);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            // Noticed late is not the program's fault.
            let noticed = Instant::now();
            if noticed >= ends || tell.send(noticed).is_err() {
                break;
            }
        }
    });
    due
}

/// What all replicas used.
fn usage(replicas: &[Server]) -> Usage {
    replicas.iter().map(Server::usage).sum()
}

/// What the connections have in common.
struct Sender<N> {
    /// How each answer begins.
    expected: String,
    next: N,
    due: Due,
    /// How many requests are still to be sent.
    left: Cell<u64>,
    begins: Instant,
    ends: Instant,
}

impl<N: Fn(usize) -> Request> Sender<N> {
    /// Sends one request after the other on one connection; how many were answered, and how long it took each
    /// that came after the warm-up.
    async fn connection(&self, number: usize, address: &str) -> (u64, Vec<Duration>) {
        let mut stream = connect(address).await;
        let mut times = Vec::new();
        let mut answered = 0;
        let mut answer = vec![0; 16 * 1024];
        loop {
            let tick = match &self.due {
                Due::AtOnce => None,
                Due::AtTicks(ticks) => match ticks.lock().await.recv().await {
                    None => break,
                    tick => tick,
                },
            };
            if Instant::now() >= self.ends || self.left.get() == 0 {
                break;
            }
            self.left.set(self.left.get() - 1);
            let request = (self.next)(number);
            // To make it is the sender's matter, where nothing is late for it.
            let since = tick.unwrap_or_else(Instant::now);
            request.send(&mut stream).await;
            let text = read_answer(&mut stream, &mut answer).await;
            let now = Instant::now();
            assert!(text.starts_with(&self.expected), "{text}");
            answered += 1;
            if ends_connection(text) {
                stream = connect(address).await;
            }
            if since >= self.begins && now <= self.ends {
                times.push(now - since);
            }
        }
        (answered, times)
    }
}

/// Whether an answer is the last on its connection.
fn ends_connection(answer: &str) -> bool {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .any(|line| line.eq_ignore_ascii_case("connection: close"))
}
