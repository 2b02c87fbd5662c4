//! What one would write in an afternoon, to compare with: a handler that checks the signature and reads the body,
//! and keeps nothing, or each delivery in a transaction of its own.

use std::path::Path;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

const TABLE: &str = "CREATE TABLE deliveries (id TEXT PRIMARY KEY, body BLOB NOT NULL)";

/// Serves on a free port, which is logged as purgehook logs it, until it is killed.
pub fn serve(secret: &'static str, database: Option<&Path>) {
    rt::System::new().block_on(async {
        let pool = match database {
            Some(path) => Some(open(path).await),
            None => None,
        };
        let state = Data::new((secret, pool));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .app_data(PayloadConfig::new(25 << 20))
                .route("/hooks/github", web::post().to(receive))
        })
        .workers(1)
        .bind(("127.0.0.1", 0))
        .unwrap();
        eprintln!("listening on http://{}", server.addrs()[0]);
        server.run().await.unwrap();
    });
}

/// As durable as purgehook's own.
async fn open(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let one = SqlitePoolOptions::new().max_connections(1);
    let pool = one.connect_with(options).await.unwrap();
    sqlx::query(TABLE).execute(&pool).await.unwrap();
    pool
}

async fn receive(
    request: HttpRequest,
    body: Bytes,
    state: Data<(&'static str, Option<SqlitePool>)>,
) -> HttpResponse {
    let (secret, pool) = &**state;
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let signature = header("X-Hub-Signature-256").and_then(|text| text.strip_prefix("sha256="));
    let signature = signature.and_then(|text| hex::decode(text).ok());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&body);
    if signature.is_none_or(|signature| mac.verify_slice(&signature).is_err()) {
        return HttpResponse::new(StatusCode::UNAUTHORIZED);
    }
    let Ok(push) = serde_json::from_slice::<serde_json::Value>(&body) else {
        return HttpResponse::new(StatusCode::BAD_REQUEST);
    };
    if let Some(pool) = pool {
        sqlx::query("INSERT INTO deliveries (id, body) VALUES ($1, $2)")
            .bind(header("X-GitHub-Delivery"))
            .bind(&body[..])
            .execute(pool)
            .await
            .unwrap();
    }
    HttpResponse::Accepted().json(serde_json::json!({"outcome": "accepted", "ref": push["ref"]}))
}
