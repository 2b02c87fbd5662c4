//! What one would write in an afternoon, to compare with: handlers that read and throw away, or that check the
//! signature, read the body and keep it.

use std::sync::mpsc::{Receiver, Sender, channel};

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::Connection;
use sha2::Sha256;
use tokio::sync::oneshot;

use crate::support::webhook::SECRET;

const LARGEST: usize = 25 << 20;
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE deliveries (id TEXT PRIMARY KEY, body BLOB NOT NULL)";

/// A delivery, and whom to tell once it is on disk.
struct New {
    id: String,
    body: Bytes,
    tell: oneshot::Sender<()>,
}

/// Keeps each delivery: as durable as purgehook's own, those that wait in one commit, no look for
/// duplicates, nothing to do afterwards. Serves until it is killed, and logs its address as purgehook does.
pub fn serve() {
    let (deliveries, new) = channel();
    std::thread::spawn(move || keep(&new));
    rt::System::new().block_on(async {
        let deliveries = Data::new(deliveries);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::clone(&deliveries))
                .app_data(PayloadConfig::new(LARGEST))
                .route("/hooks/github", web::post().to(receive))
        })
        .workers(1)
        .bind(("127.0.0.1", 0))
        .unwrap();
        eprintln!("listening on http://{}", server.addrs()[0]);
        server.run().await.unwrap();
    });
}

/// Reads requests to whatever address, and throws them away.
pub fn serve_bare() {
    rt::System::new().block_on(async {
        let server = HttpServer::new(|| {
            App::new()
                .app_data(PayloadConfig::new(LARGEST))
                .default_service(web::to(async |_: Bytes| HttpResponse::new(StatusCode::OK)))
        })
        .workers(1)
        .bind(("127.0.0.1", 0))
        .unwrap();
        eprintln!("listening on http://{}", server.addrs()[0]);
        server.run().await.unwrap();
    });
}

fn keep(new: &Receiver<New>) {
    let database = Connection::open("plain.db").unwrap();
    database.execute_batch(SCHEMA).unwrap();
    while let Ok(first) = new.recv() {
        let mut kept = Vec::new();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        for New { id, body, tell } in std::iter::once(first).chain(new.try_iter()) {
            database
                .prepare_cached("INSERT INTO deliveries (id, body) VALUES (?1, ?2)")
                .unwrap()
                .execute((&id, &body[..]))
                .unwrap();
            kept.push(tell);
        }
        database.execute_batch("COMMIT").unwrap();
        for tell in kept {
            // Whoever asked may have hung up.
            let _ = tell.send(());
        }
    }
}

async fn receive(request: HttpRequest, body: Bytes, deliveries: Data<Sender<New>>) -> HttpResponse {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let signature = header("X-Hub-Signature-256").and_then(|text| text.strip_prefix("sha256="));
    let signature = signature.and_then(|text| hex::decode(text).ok());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&body);
    if signature.is_none_or(|signature| mac.verify_slice(&signature).is_err()) {
        return HttpResponse::new(StatusCode::UNAUTHORIZED);
    }
    let Ok(push) = serde_json::from_slice::<serde_json::Value>(&body) else {
        return HttpResponse::new(StatusCode::BAD_REQUEST);
    };
    let (tell, told) = oneshot::channel();
    let new = New {
        id: header("X-GitHub-Delivery").unwrap_or_default().to_owned(),
        body,
        tell,
    };
    deliveries.send(new).unwrap();
    told.await.unwrap();
    HttpResponse::Accepted().json(serde_json::json!({"outcome": "accepted", "ref": push["ref"]}))
}
