//! Tests for every kind of forge in [`KINDS`]: if a forge asks for a pause, it gets it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::scripted::{NOW, Reply, Scripted, id, outbound, read_entry, repo};
use super::*;
use crate::cause;
use crate::clock::{Clock, TimeSource};

/// A clock that a test moves.
struct Moved(Mutex<i64>);

#[async_trait]
impl TimeSource for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(*self.0.lock().unwrap()).unwrap()
    }

    /// Code that waits for a short limit finds that no time has passed, and gives up.
    async fn sleep(&self, _: Duration) {}
}

struct Tried {
    api: Scripted,
    clock: Arc<Moved>,
    forge: Arc<dyn Forge>,
    limited: Arc<AtomicBool>,
}

impl Tried {
    /// A forge whose API answers with `limit` while it is limited, and otherwise with 404.
    fn new(kind: &ForgeKind, limit: Reply) -> Self {
        let limited = Arc::new(AtomicBool::new(true));
        let is_limited = Arc::clone(&limited);
        let api = Scripted::new(move |_| match is_limited.load(Ordering::Relaxed) {
            true => limit.clone(),
            false => Reply::json(404, json!({"message": "Not Found"})),
        });
        let clock = Arc::new(Moved(Mutex::new(NOW)));
        let time = Arc::clone(&clock) as Arc<dyn TimeSource>;
        let outbound = Outbound::new(Clock::new(time, fastrand::Rng::with_seed(1))).unwrap();
        let entry = format!(
            "{{secrets: [a secret], token: made-up, api_url: '{}'}}",
            api.url
        );
        let (forge, problems) = read_entry(&entry, |section| (kind.read)(section, &outbound));
        let forge = forge.unwrap_or_else(|| panic!("{}: {problems}", kind.name));
        Self {
            api,
            clock,
            forge,
            limited,
        }
    }

    fn asked(&self) -> usize {
        self.api.asked().len()
    }

    fn pass(&self, seconds: i64) {
        *self.clock.0.lock().unwrap() += seconds;
    }

    /// Sends one request of each kind.
    async fn ask(&self) -> Vec<(&'static str, ForgeError)> {
        let at = repo("acme/website");
        let status = status();
        let looked_up = self.forge.branch_head(&at, "main").await.map(|_| ());
        let named = self.forge.resolve(&at, "v1").await.map(|_| ());
        let compared = self
            .forge
            .changes(&at, &id('1'), &id('2'))
            .await
            .map(|_| ());
        let mut all = vec![
            ("branch_head", looked_up),
            ("resolve", named),
            ("changes", compared),
        ];
        let posted = self.forge.post_status(&at, &id('1'), &status).await;
        let posted = posted.map(|_| ());
        all.push(("post_status", posted));
        let failed = |(what, result): (_, Result<(), ForgeError>)| Some((what, result.err()?));
        all.into_iter().filter_map(failed).collect()
    }
}

fn status() -> StatusPost {
    StatusPost {
        state: StatusState::Pending,
        context: "cdn/purge".to_owned(),
        description: "Purging".to_owned(),
        target_url: None,
        ref_name: "main".to_owned(),
        pending_before: 0,
    }
}

/// The answers of forges whose limit is reached, each with the number of seconds they ask for.
fn limits() -> Vec<(Reply, i64)> {
    let reply = |status| Reply::json(status, json!({"message": "API rate limit exceeded"}));
    let until = |reply: Reply, seconds: i64| {
        let reply = reply
            .with("x-ratelimit-remaining", 0)
            .with("ratelimit-remaining", 0);
        let at = NOW + seconds;
        reply
            .with("x-ratelimit-reset", at)
            .with("ratelimit-reset", at)
    };
    vec![
        (reply(429), 60),
        (reply(429).with("retry-after", 600), 600),
        (until(reply(429), 1_800), 1_800),
        // Both waits apply.
        (until(reply(429), 1_800).with("retry-after", 30), 1_800),
        (
            Reply::text(429, "Retry later\n").with("retry-after", 120),
            120,
        ),
        (
            reply(429)
                .with("date", "Sun, 22 Nov 2026 12:00:00 GMT")
                .with("retry-after", "Sun, 22 Nov 2026 12:10:00 GMT"),
            600,
        ),
        // No limit lasts longer than an hour.
        (reply(429).with("retry-after", 31_536_000), 3_600),
        (until(reply(429), 99_999_999_999_999), 3_600),
    ]
}

#[actix_web::test]
async fn after_one_refusal_nothing_is_asked_until_the_forge_said_look_ups_and_statuses_alike() {
    for kind in KINDS {
        for (limit, seconds) in limits() {
            let tried = Tried::new(kind, limit.clone());

            let first = tried.forge.branch_head(&repo("acme/website"), "main").await;

            let refused = |error: &ForgeError| match error {
                ForgeError::Later { retry_after, .. } => retry_after.map(|wait| wait.as_secs()),
                ForgeError::Gone(_) | ForgeError::Refused(_) | ForgeError::Denied { .. } => None,
            };
            let told = u64::try_from(seconds).ok();
            assert_eq!(
                refused(&first.unwrap_err()),
                told,
                "{} {limit:?}",
                kind.name
            );
            tried.limited.store(false, Ordering::Relaxed);
            tried.pass(seconds - 1);
            for (what, error) in tried.ask().await {
                assert_eq!(refused(&error), Some(1), "{} {what}: {error}", kind.name);
            }
            assert_eq!(tried.asked(), 1, "{} {limit:?}", kind.name);

            tried.pass(1);
            for (what, error) in tried.ask().await {
                let is_answered = !matches!(error, ForgeError::Later { .. });
                assert!(is_answered, "{} {what}: {error}", kind.name);
            }
            assert!(tried.asked() > 3, "{} {limit:?}", kind.name);
        }
    }
}

#[actix_web::test]
async fn a_server_in_trouble_is_left_alone_for_five_minutes_at_most_however_long_it_asks_for() {
    for kind in KINDS {
        for (asked, seconds) in [(30, 30), (31_536_000, 300)] {
            let trouble = Reply::text(503, "").with("retry-after", asked);
            let tried = Tried::new(kind, trouble);

            let error = tried.forge.branch_head(&repo("acme/website"), "main").await;

            let Err(ForgeError::Later { retry_after, .. }) = error else {
                panic!("{}: {error:?}", kind.name);
            };
            assert_eq!(
                retry_after,
                Some(Duration::from_secs(seconds)),
                "{}",
                kind.name
            );
        }
    }
}

#[actix_web::test]
async fn the_last_request_that_is_left_gets_its_answer_and_the_next_one_waits_for_the_reset() {
    for kind in KINDS {
        let spent = Reply::json(404, json!({"message": "Not Found"}))
            .with("x-ratelimit-remaining", 0)
            .with("x-ratelimit-reset", NOW + 900)
            .with("ratelimit-remaining", 0)
            .with("ratelimit-reset", NOW + 900);
        let tried = Tried::new(kind, spent);

        let first = tried.forge.branch_head(&repo("acme/website"), "main").await;

        assert!(
            matches!(first, Err(ForgeError::Gone(_))),
            "{}: {first:?}",
            kind.name
        );
        for (what, error) in tried.ask().await {
            assert!(
                matches!(error, ForgeError::Later { .. }),
                "{} {what}",
                kind.name
            );
        }
        assert_eq!(tried.asked(), 1, "{}", kind.name);
    }
}

/// An API that drops every other connection on a request, and the number of requests.
fn hanging_up() -> (Url, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let asked = Arc::new(Mutex::new(0_usize));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4_096];
            let read = connection.read(&mut request).unwrap();
            assert!(read > 0);
            let mut count = count.lock().unwrap();
            *count += 1;
            if count.is_multiple_of(2) {
                let answer =
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                connection.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (url, asked)
}

#[actix_web::test]
async fn a_question_whose_connection_was_closed_is_asked_once_more_and_a_status_is_not() {
    let read = |url: &Url| {
        let entry = format!("{{secrets: [a secret], token: made-up, api_url: '{url}'}}");
        read_entry(&entry, |section| (github::KIND.read)(section, &outbound())).0
    };
    let at = repo("acme/website");

    let (url, asked) = hanging_up();
    let found = read(&url).unwrap().branch_head(&at, "main").await;
    assert!(matches!(found, Err(ForgeError::Gone(_))), "{found:?}");
    assert_eq!(*asked.lock().unwrap(), 2);

    let (url, asked) = hanging_up();
    let status = status();
    let posted = read(&url)
        .unwrap()
        .post_status(&at, &id('1'), &status)
        .await;
    assert!(
        matches!(posted, Err(ForgeError::Later { .. })),
        "{posted:?}"
    );
    let error = posted.unwrap_err();
    assert!(error.source().unwrap().is::<reqwest::Error>());
    let url = format!(":{}", url.port().unwrap());
    let said = cause::chain(&error);
    assert!(!said.contains(&url), "{said}");
    assert_eq!(
        said,
        error.to_string(),
        "its words hold those of its causes"
    );
    assert_eq!(*asked.lock().unwrap(), 1);
}
