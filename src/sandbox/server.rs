//! The HTTP servers: pass each request to a service's plain function, with the scripted faults in between.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use jiff::Timestamp;

use super::exchange::{Answer, Request};
use super::faults::Fault;
use super::service::Service;
use super::stand_in::Kind;
use super::world::{Call, World};
use crate::clock::Clock;

/// The largest body that any service accepts: TC3 POSTs of 10 MB, and some more to be refused by the service
/// itself.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Binds a port for each service and serves them from one thread.
pub(super) fn start(clock: Clock, kinds: &[Kind]) -> io::Result<(Arc<World>, ServerHandle)> {
    let mut listeners = Vec::new();
    let mut stand_ins = Vec::new();
    let mut ports = BTreeMap::new();
    for kind in kinds {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}");
        let stand_in = (kind.start)(&url);
        stand_ins.push((kind.service, url, stand_in));
        ports.insert(address.port(), kind.service);
        listeners.push(listener);
    }
    let world = Arc::new(World::new(clock, stand_ins));
    let shared = web::Data::new(Server {
        world: Arc::clone(&world),
        ports,
    });
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .default_service(web::to(handle))
    })
    .workers(1)
    .disable_signals();
    for listener in listeners {
        server = server.listen(listener)?;
    }
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok((world, handle))
}

/// The handler's data.
struct Server {
    world: Arc<World>,
    /// The service of each port.
    ports: BTreeMap<u16, Service>,
}

async fn handle(server: web::Data<Server>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let port = http.app_config().local_addr().port();
    let Some(service) = server.ports.get(&port).copied() else {
        return HttpResponse::NotFound().finish();
    };
    let request = Request {
        method: http.method().as_str().to_owned(),
        path: http.uri().path().to_owned(),
        query: http.uri().query().unwrap_or_default().to_owned(),
        headers: http
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect(),
        body: body.to_vec(),
    };
    let world = &server.world;
    let (action, fault) = {
        let mut state = world.lock();
        let action = state.api(service).action(&request);
        let fault = state.script.take(service, &action);
        (action, fault)
    };
    if let Some(Fault::Slow(pause)) = &fault {
        world.clock.sleep(*pause).await;
    }
    let (end, at) = decide(world, service, &action, &request, fault);
    send(end, at).await
}

/// How a call ends.
enum End {
    Answered(Answer),
    /// The answer breaks off in the middle.
    Cut(Answer),
    /// The connection ends without an answer.
    Dropped,
    /// There is never an answer.
    Silence,
}

/// Decides whether the service does its work, and records the call.
fn decide(
    world: &World,
    service: Service,
    action: &str,
    request: &Request,
    fault: Option<Fault>,
) -> (End, Timestamp) {
    let now = world.now();
    let mut state = world.lock();
    let summary = state.api(service).summary(request);
    let api = state.api(service);
    let end = match &fault {
        None | Some(Fault::Slow(_)) => End::Answered(api.answer(request, now)),
        Some(Fault::Throttle) => End::Answered(api.throttled(now)),
        Some(Fault::Code(code)) => End::Answered(api.failure(code)),
        Some(Fault::OutOfQuota) => End::Answered(api.out_of_quota(action)),
        Some(Fault::Http(status, retry_after)) => {
            let answer = Answer::text(*status, "upstream trouble\n");
            End::Answered(match retry_after {
                Some(seconds) => answer.with("retry-after", seconds),
                None => answer,
            })
        }
        Some(Fault::Hang) => End::Silence,
        Some(Fault::DropBefore) => End::Dropped,
        Some(Fault::DropAfter) => {
            api.answer(request, now);
            End::Dropped
        }
        Some(Fault::Truncate) => End::Cut(api.answer(request, now)),
        Some(Fault::WrongJson) => {
            let mut answer = api.answer(request, now);
            answer.body = b"<html><body>Welcome to the captive portal</body></html>".to_vec();
            End::Answered(answer)
        }
    };
    let (status, outcome) = match &end {
        End::Answered(answer) | End::Cut(answer) => (answer.status, answer.outcome.clone()),
        End::Dropped => (0, "dropped".to_owned()),
        End::Silence => (0, "no answer".to_owned()),
    };
    state.log.push(Call {
        service,
        action: action.to_owned(),
        at: now,
        summary,
        status,
        outcome,
        fault,
    });
    (end, now)
}

async fn send(end: End, at: Timestamp) -> HttpResponse {
    match end {
        End::Answered(answer) => head(&answer, at).body(answer.body),
        End::Cut(answer) => {
            let half = answer.body.len() / 2;
            let part = Bytes::copy_from_slice(answer.body.get(..half).unwrap_or_default());
            head(&answer, at).body(Broken {
                size: answer.body.len() as u64,
                part: Some(part),
                flushed: false,
            })
        }
        End::Dropped => HttpResponse::Ok().body(Broken {
            size: 1,
            part: None,
            flushed: true,
        }),
        End::Silence => std::future::pending().await,
    }
}

/// The status and headers of an answer. `Date` is the sandbox's own time, for the client to read.
fn head(answer: &Answer, at: Timestamp) -> actix_web::HttpResponseBuilder {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    if !answer.headers.iter().any(|(name, _)| name == "date") {
        let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        builder.insert_header(("date", date));
    }
    for (name, value) in &answer.headers {
        builder.insert_header((name.as_str(), value.as_str()));
    }
    builder
}

/// A body that is longer by its header than in fact, and then fails, which ends the connection. The server sends
/// nothing, not even the headers, before the body has paused once: without a first part it looks as if the
/// connection had just ended.
struct Broken {
    size: u64,
    part: Option<Bytes>,
    flushed: bool,
}

impl MessageBody for Broken {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        if let Some(part) = self.part.take() {
            return Poll::Ready(Some(Ok(part)));
        }
        if !self.flushed {
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
