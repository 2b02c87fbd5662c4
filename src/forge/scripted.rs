//! For tests: an API on loopback that returns scripted answers and records requests, a clock that stands still, and
//! the signatures in the test data.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use async_trait::async_trait;
use base64::Engine;
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::clock::{Clock, TimeSource};
use crate::event::{CommitId, RepoPath};
use crate::http::Outbound;
use crate::settings::{Environment, File, Section};

/// The time at which the tests' clock stands.
pub const NOW: i64 = 1_795_305_600;

/// A request as the API received it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// The path and the query as they were sent.
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub fn json(status: u16, body: serde_json::Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

type Answers = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// An API that runs as long as the test's runtime.
pub struct Scripted {
    pub url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Starts an API at the path `/api`.
    pub fn new(answers: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state = (Arc::clone(&asked), Arc::new(answers) as Answers);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(state.clone()))
                .default_service(web::to(answer))
        })
        .workers(1)
        .bind(("127.0.0.1", 0))
        .unwrap();
        let address = server.addrs()[0];
        actix_web::rt::spawn(server.run());
        Self {
            url: Url::parse(&format!("http://{address}/api")).unwrap(),
            asked,
        }
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// "GET /api/..." for every request so far.
    pub fn lines(&self) -> Vec<String> {
        let line = |a: &Asked| format!("{} {}", a.method, a.target);
        self.asked().iter().map(line).collect()
    }
}

async fn answer(
    request: HttpRequest,
    body: String,
    state: web::Data<(Arc<Mutex<Vec<Asked>>>, Answers)>,
) -> HttpResponse {
    let (log, answers) = state.get_ref();
    let header = |(name, value): (
        &actix_web::http::header::HeaderName,
        &actix_web::http::header::HeaderValue,
    )| { (name.to_string(), value.to_str().unwrap().to_owned()) };
    let asked = Asked {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request.headers().iter().map(header).collect(),
        body,
    };
    let reply = answers(&asked);
    log.lock().unwrap().push(asked);
    let mut response = HttpResponse::build(StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in reply.headers {
        response.append_header((name, value));
    }
    response.body(reply.body)
}

struct Stopped;

#[async_trait]
impl TimeSource for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    async fn sleep(&self, _: Duration) {}
}

/// The environment of a client, with a clock that stands at [`NOW`].
pub fn outbound() -> Outbound {
    Outbound::new(Clock::new(Arc::new(Stopped), fastrand::Rng::with_seed(1))).unwrap()
}

/// The same for tests that send nothing: created once, since reading the system's certificates takes a while.
pub fn unplugged() -> &'static Outbound {
    static UNPLUGGED: LazyLock<Outbound> = LazyLock::new(outbound);
    &UNPLUGGED
}

/// Reads one entry of a settings file; returns it and its problems as they are shown.
pub fn read_entry<T>(yaml: &str, read: impl FnOnce(&mut Section) -> T) -> (T, String) {
    let text = format!("entry: {yaml}\n");
    let file = File::new("rules.yaml", &text, Environment::of([]));
    let mut root = file.root().unwrap();
    let mut entry = root.section("entry").unwrap();
    let value = read(&mut entry);
    drop((entry, root));
    let problems = file.problems();
    let shown = match problems.list.is_empty() {
        true => String::new(),
        false => problems.to_string(),
    };
    (value, shown)
}

/// A commit's id made of one digit.
pub fn id(digit: char) -> CommitId {
    CommitId::parse(&digit.to_string().repeat(40)).unwrap()
}

pub fn repo(path: &str) -> RepoPath {
    RepoPath::parse(path).unwrap()
}

/// Signed requests stored as data, and the result of each.
#[derive(Deserialize)]
pub struct Signatures<Case> {
    bodies: BTreeMap<String, String>,
    base64_bodies: BTreeMap<String, String>,
    pub cases: Vec<Case>,
}

impl<Case> Signatures<Case> {
    pub fn body(&self, name: &str) -> Vec<u8> {
        match self.bodies.get(name) {
            Some(text) => text.as_bytes().to_vec(),
            None => base64::engine::general_purpose::STANDARD
                .decode(&self.base64_bodies[name])
                .unwrap(),
        }
    }
}
