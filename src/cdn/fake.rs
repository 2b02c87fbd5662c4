//! A fake CDN API for the tests of one client: it records requests and returns prepared answers.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::{Batch, InFlight, Pace};
use crate::clock::{Clock, TimeSource};
use crate::http::Outbound;
use crate::purge::{PurgeKind, TaskIds};

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The parameters of the query, or of a form in the body.
    pub fn form(&self) -> BTreeMap<String, String> {
        let text = if self.body.is_empty() {
            &self.query
        } else {
            &self.body
        };
        url::form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect()
    }
}

/// An answer to give.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Told {
    pub fn with(status: u16, body: impl ToString) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_string(),
        }
    }

    pub fn json(body: impl ToString) -> Self {
        Self::with(200, body)
    }

    pub fn and_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

type Answers = Box<dyn FnMut(&Asked) -> Told + Send>;

/// The server, and what it was asked.
pub struct FakeApi {
    pub url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeApi {
    /// A server that gives these answers one after the other.
    pub async fn told(answers: impl IntoIterator<Item = Told>) -> Self {
        let mut answers: VecDeque<Told> = answers.into_iter().collect();
        Self::answering(move |_| {
            answers
                .pop_front()
                .unwrap_or(Told::with(418, "nothing more was planned"))
        })
        .await
    }

    /// A server that answers by what it is asked.
    pub async fn answering(answers: impl FnMut(&Asked) -> Told + Send + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(Box::new(answers)));
        let notes = asked.clone();
        let server = HttpServer::new(move || {
            let (answers, notes) = (answers.clone(), notes.clone());
            App::new()
                .app_data(web::PayloadConfig::new(16 * 1024 * 1024))
                .default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                    let (answers, notes) = (answers.clone(), notes.clone());
                    async move {
                        let asked = note(&request, &body);
                        let told = (answers.lock().unwrap())(&asked);
                        notes.lock().unwrap().push(asked);
                        let mut answer =
                            HttpResponse::build(StatusCode::from_u16(told.status).unwrap());
                        for (name, value) in told.headers {
                            answer.insert_header((name, value));
                        }
                        answer.body(told.body)
                    }
                }))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let port = server.addrs()[0].port();
        tokio::spawn(server.run());
        Self {
            url: Url::parse(&format!("http://127.0.0.1:{port}")).unwrap(),
            asked,
        }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn note(request: &HttpRequest, body: &[u8]) -> Asked {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    Asked {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// A port whose connections are closed as soon as a request has come in.
pub fn a_port_that_hangs_up() -> Url {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.unwrap().read(&mut [0; 1024]);
        }
    });
    Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()
}

/// A port on which nothing listens.
pub fn a_closed_port() -> Url {
    let port = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()
}

/// When all tests here take place: 2025-01-01T01:04:05Z.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_735_693_445).unwrap()
}

struct Stopped;

#[async_trait]
impl TimeSource for Stopped {
    fn now(&self) -> Timestamp {
        now()
    }
    async fn sleep(&self, _duration: Duration) {}
}

/// The world outside, at [`now`].
pub fn outbound() -> Outbound {
    Outbound::new(Clock::new(Arc::new(Stopped), fastrand::Rng::with_seed(7))).unwrap()
}

/// A pace that waits for nothing.
pub fn pace() -> Pace {
    Pace::new(outbound().clock, 20)
}

/// A batch of these targets.
pub fn batch(kind: PurgeKind, targets: &[&str]) -> Batch {
    Batch {
        kind,
        mode: None,
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
    }
}

/// What a CDN calls a batch.
pub fn ids(text: &str) -> Option<TaskIds> {
    TaskIds::parse(text)
}

/// A batch on its way, sent at [`now`].
pub fn in_flight(task: Option<&str>, kind: PurgeKind, targets: &[&str]) -> InFlight {
    InFlight {
        task: task.and_then(TaskIds::parse),
        submitted_at: now(),
        batch: batch(kind, targets),
    }
}
