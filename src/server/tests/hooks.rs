//! Tests the response to each kind of webhook request.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/json");
    (status, answer.json().await.unwrap())
}

fn words<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap()
}

#[tokio::test]
async fn a_push_is_accepted_with_its_delivery_and_links_to_its_runs() {
    let server = Server::start().await;

    let (status, body) = answer(server.hook("main")).await;

    assert_eq!(status, 202);
    assert_eq!(body["outcome"], "accepted");
    let id = words(&body["runs"][0], "id");
    assert_eq!(
        words(&body["runs"][0], "url"),
        format!("https://purge.example.com/hook/runs/{id}")
    );
    let kept = kept_body(&server, words(&body, "delivery")).await;
    assert_eq!(kept, b"main");
}

#[tokio::test]
async fn without_a_public_address_links_are_paths() {
    let rules = RULES.replace("  public_url: https://purge.example.com/hook/\n", "");
    let server = Server::start_as(Setup {
        rules,
        ..Setup::default()
    })
    .await;

    let (_, body) = answer(server.hook("main")).await;

    let run = &body["runs"][0];
    assert_eq!(words(run, "url"), format!("/runs/{}", words(run, "id")));
}

#[tokio::test]
async fn the_same_delivery_again_is_a_duplicate_with_the_same_runs() {
    let server = Server::start().await;
    let (_, first) = answer(server.hook("main").header("x-delivery", "1")).await;

    let (status, second) = answer(server.hook("main").header("x-delivery", "1")).await;

    assert_eq!(status, 200);
    assert_eq!(second["outcome"], "duplicate");
    assert_eq!(second["delivery"], first["delivery"]);
    assert_eq!(second["runs"], first["runs"]);
}

#[tokio::test]
async fn what_asks_for_nothing_is_answered_with_200_and_why() {
    let server = Server::start().await;

    assert_eq!(
        answer(server.hook("ping")).await,
        (200, json!({"outcome": "pong"}))
    );
    assert_eq!(
        answer(server.hook("other")).await,
        (
            200,
            json!({"outcome": "ignored", "why": "the event `star` triggers nothing"})
        )
    );
    assert_eq!(
        answer(server.hook("develop")).await,
        (
            200,
            json!({"outcome": "ignored", "why": "no site of acme/website follows the branch develop: www follows main, preview/<b>*"})
        )
    );
}

#[tokio::test]
async fn each_refusal_has_its_status_and_words() {
    let server = Server::start().await;
    let unsigned = || {
        server
            .request(Method::POST, "/hooks/trusting")
            .header("content-type", "application/json")
            .body("main")
    };
    let to = |method, path| {
        server
            .request(method, path)
            .header("x-signature", "good")
            .body("main")
    };
    let typed = |value: &str| to(Method::POST, "/hooks/trusting").header("content-type", value);

    for (request, expected, named) in [
        (unsigned(), 401, "missing"),
        (unsigned().header("x-signature", "bad"), 401, "wrong"),
        // A stranger does not learn what the forge sends.
        (
            unsigned().header("content-type", "text/plain"),
            401,
            "missing",
        ),
        (to(Method::POST, "/hooks/nobody"), 404, "\"nobody\""),
        (to(Method::GET, "/hooks/nobody"), 404, "\"nobody\""),
        (to(Method::POST, "/hooks/"), 404, "address"),
        (to(Method::GET, "/hooks/trusting"), 405, "POST"),
        (to(Method::PUT, "/hooks/trusting"), 405, "POST"),
        (typed("text/plain"), 415, "application/json"),
        (to(Method::POST, "/hooks/trusting"), 415, "application/json"),
        (
            server.hook("main").header("content-encoding", "gzip"),
            415,
            "gzip",
        ),
        (
            server
                .hook("main")
                .header("content-encoding", "identity, br"),
            415,
            "br",
        ),
        (server.hook(""), 400, "empty"),
        (server.hook(vec![0xff]), 400, "UTF-8"),
        (server.hook("panic"), 500, "not accepted"),
    ] {
        let (status, body) = answer(request).await;

        assert_eq!(status, expected, "{body}");
        assert_eq!(body["outcome"], "refused", "{body}");
        assert!(words(&body, "error").contains(named), "{body}");
    }
    assert!(
        server
            .engine
            .store()
            .runs(&everything())
            .await
            .unwrap()
            .is_empty()
    );
}

fn everything() -> crate::store::RunFilter {
    crate::store::RunFilter {
        limit: 10,
        ..Default::default()
    }
}

#[tokio::test]
async fn identity_and_parameters_of_the_content_type_do_no_harm() {
    let server = Server::start().await;
    let request = server
        .request(Method::POST, "/hooks/trusting")
        .header("x-signature", "good")
        .header("content-encoding", "identity")
        .header("content-type", "Application/JSON; charset=utf-8")
        .body("ping");

    assert_eq!(answer(request).await.0, 200);
}

#[tokio::test]
async fn not_post_is_told_what_would_do() {
    let server = Server::start().await;

    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS] {
        let answer = server.request(method, "/hooks/trusting").send();
        let answer = answer.await.unwrap();

        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], "POST");
    }
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_any_of_it_was_sent() {
    let server = Server::start().await;
    let mut stream = server.connect().await;

    send(
        &mut stream,
        "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nContent-Length: 31457280\r\n\r\n",
    )
    .await;
    let answer = read_to_end(&mut stream).await;

    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"outcome\":\"refused\""), "{answer}");
    assert!(answer.contains("26214400 bytes"), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_connection_is_kept_after_a_tiny_body_that_nobody_wants_and_closed_after_a_large_one() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = |length: usize| {
        format!("POST /hooks/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
    };

    send(&mut stream, &format!("{}ping", head(4))).await;
    send(&mut stream, &head(1_000_000)).await;
    let answers = read_to_end(&mut stream).await;

    assert_eq!(answers.matches("HTTP/1.1 404 ").count(), 2, "{answers}");
}

#[tokio::test]
async fn a_client_that_sends_thirty_megabytes_all_the_same_reads_the_answer() {
    let server = Server::start().await;

    let (status, body) = answer(server.hook(vec![b'x'; 30 * 1024 * 1024])).await;

    assert_eq!((status, &body["outcome"]), (413, &json!("refused")));
}

#[tokio::test]
async fn chunks_that_never_end_are_cut_off_at_the_limit() {
    let server = Server::start_as(small(100_000)).await;
    let mut stream = server.connect().await;
    send(
        &mut stream,
        "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let (mut reader, mut writer) = stream.split();

    let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000));
    let endless = async {
        // Ends when the server closes the connection, and only then.
        while writer.write_all(chunk.as_bytes()).await.is_ok() {}
    };
    let mut answer = vec![0; 12];
    let (read, ()) = tokio::join!(reader.read_exact(&mut answer), endless);

    read.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

fn small(body: usize) -> Setup {
    let mut setup = Setup::default();
    setup.limits.body = body;
    setup
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let server = Server::start_as(small(4)).await;

    assert_eq!(answer(server.hook("main")).await.0, 202);
    assert_eq!(answer(server.hook("main ")).await.0, 413);
}

#[tokio::test]
async fn a_body_that_dawdles_is_given_up() {
    let mut setup = Setup::default();
    setup.limits.body_time = Duration::from_millis(200);
    let server = Server::start_as(setup).await;
    let mut stream = server.connect().await;

    send(
        &mut stream,
        "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nContent-Length: 4\r\n\r\nma",
    )
    .await;
    let answer = read_to_end(&mut stream).await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("0.2 s"), "{answer}");
}

#[tokio::test]
async fn a_body_that_stops_in_its_midst_is_given_up_before_its_time() {
    let mut setup = Setup::default();
    setup.limits.body_stall = Duration::from_millis(300);
    let server = Server::start_as(setup).await;
    for (size, sent) in [
        (4, 2),
        (1024 * 1024, 1024 * 1024 - 1),
        (5_000_000, 4_000_000),
    ] {
        let mut stream = server.connect().await;

        let head = format!(
            "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nContent-Length: {size}\r\n\r\n"
        );
        send(&mut stream, &head).await;
        send(&mut stream, &"x".repeat(sent)).await;
        let answer = read_to_end(&mut stream).await;

        assert!(answer.starts_with("HTTP/1.1 408 "), "{size}: {answer}");
        assert!(answer.contains("0.3 s"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_comes_steadily_has_its_time() {
    let mut setup = Setup::default();
    setup.limits.body_stall = Duration::from_millis(300);
    let server = Server::start_as(setup).await;
    let mut stream = server.connect().await;

    send(
        &mut stream,
        "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nContent-Type: application/json\r\n\
         Content-Length: 160004\r\nConnection: close\r\n\r\n",
    )
    .await;
    for _ in 0..10 {
        send(&mut stream, &" ".repeat(16_000)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    send(&mut stream, "ping").await;
    let answer = read_to_end(&mut stream).await;

    assert!(!answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn the_body_of_a_stranger_is_not_waited_for() {
    let server = Server::start().await;
    for signature in ["", "X-Signature: bad\r\n"] {
        let mut stream = server.connect().await;

        let head = format!(
            "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\n{signature}Content-Length: 1000000\r\n\r\n"
        );
        send(&mut stream, &head).await;
        let answer = read_to_end(&mut stream).await;

        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("signature is"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_dawdles_is_given_up() {
    let mut setup = Setup::default();
    setup.limits.head_time = Duration::from_millis(200);
    let server = Server::start_as(setup).await;
    let mut stream = server.connect().await;

    send(&mut stream, "POST /hooks/trusting HTTP/1.1\r\nHo").await;
    let answer = read_to_end(&mut stream).await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_expects_to_be_asked_for_the_body_is_asked() {
    let server = Server::start().await;
    let mut stream = server.connect().await;

    send(
        &mut stream,
        "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nContent-Type: application/json\r\n\
         Content-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    )
    .await;
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    send(&mut stream, "ping").await;
    let answer = read_to_end(&mut stream).await;

    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// No memory for bodies, so many bytes of the disk, and how long they wait for those.
fn cramped(bytes: usize, patience: Duration) -> Setup {
    let mut setup = small(4);
    setup.limits.in_memory = 0;
    setup.limits.on_disk = bytes;
    setup.limits.disk_wait = patience;
    setup
}

#[tokio::test]
async fn a_body_that_does_not_fit_in_memory_goes_to_the_disk() {
    let server = Server::start_as(cramped(4, Duration::from_millis(200))).await;

    let (status, body) = answer(server.hook("main")).await;

    assert_eq!(status, 202, "{body}");
    let kept = kept_body(&server, words(&body, "delivery")).await;
    assert_eq!(kept, b"main");
}

async fn kept_body(server: &Server, delivery: &str) -> Vec<u8> {
    let store = server.engine.store();
    let delivery = store.delivery(delivery).await.unwrap().unwrap();
    let mut body = Vec::new();
    store.read_body(&delivery.body, &mut body).await.unwrap();
    body
}

#[tokio::test]
async fn a_large_body_is_kept_byte_by_byte_whether_it_is_announced_or_not() {
    let server = Server::start().await;
    for (id, is_announced) in [("1", true), ("2", false)] {
        // Blanks behind a branch's name mean nothing. There is no pattern to them, and no whole number of blocks.
        let mut random = fastrand::Rng::with_seed(7);
        let blanks = (0..3_000_000).map(|_| [' ', '\t', '\r', '\n'][random.usize(..4)]);
        let name = ["main", "preview/<b>"][usize::from(is_announced)];
        let branch: String = name.chars().chain(blanks).collect();
        let (length, body) = if is_announced {
            (format!("Content-Length: {}", branch.len()), branch.clone())
        } else {
            let chunks = branch.as_bytes().chunks(100_000).map(|chunk| {
                format!(
                    "{:x}\r\n{}\r\n",
                    chunk.len(),
                    std::str::from_utf8(chunk).unwrap()
                )
            });
            let chunks: String = chunks.chain(["0\r\n\r\n".to_owned()]).collect();
            ("Transfer-Encoding: chunked".to_owned(), chunks)
        };
        let head = format!(
            "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nX-Delivery: {id}\r\n\
             Content-Type: application/json\r\nConnection: close\r\n{length}\r\n\r\n"
        );

        let mut stream = server.connect().await;
        send(&mut stream, &head).await;
        send(&mut stream, &body).await;
        let answer = read_to_end(&mut stream).await;

        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let kept = kept_body(&server, words(&body, "delivery")).await;
        assert!(kept == branch.as_bytes());
    }
}

#[tokio::test]
async fn a_large_body_is_refused_with_the_words_of_a_small_one_and_nothing_of_it_is_kept() {
    let server = Server::start().await;
    for (signature, content_type, status) in [
        (None, "application/json", 401),
        (Some("bad"), "application/json", 401),
        (Some("good"), "text/plain", 415),
        (Some("good"), "application/json", 400),
    ] {
        let ask = |body: Vec<u8>| {
            let request = server.request(Method::POST, "/hooks/trusting");
            let request = request.header("content-type", content_type).body(body);
            match signature {
                Some(signature) => request.header("x-signature", signature),
                None => request,
            }
        };

        let large = answer(ask(vec![0xff; 3_000_000])).await;

        assert_eq!(large, answer(ask(vec![0xff])).await);
        assert_eq!(large.0, status);
    }
    let nothing = server.engine.store().runs(&everything()).await.unwrap();
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn bodies_that_do_not_fit_on_the_disk_are_put_off() {
    let server = Server::start_as(cramped(3, Duration::from_millis(200))).await;

    let answer = server.hook("main").send().await.unwrap();

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
}

#[tokio::test]
async fn space_for_bodies_is_given_back() {
    let server = Server::start_as(cramped(4, Duration::from_millis(200))).await;

    for _ in 0..3 {
        assert_eq!(answer(server.hook("ping")).await.0, 200);
    }
}

#[tokio::test]
async fn a_body_waits_for_the_space_that_another_gives_back() {
    let server = Server::start_as(cramped(5, Duration::from_secs(60))).await;
    let mut half_there = server.connect().await;
    send(&mut half_there, HALF_A_BODY).await;

    // The first of them may come before the half that takes the space.
    let waiting = loop {
        let mut other = tokio::spawn(server.hook("ping").send());
        if timeout(Duration::from_millis(300), &mut other)
            .await
            .is_err()
        {
            break other;
        }
    };
    drop(half_there);

    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
}

const HALF_A_BODY: &str =
    "POST /hooks/trusting HTTP/1.1\r\nHost: x\r\nX-Signature: good\r\nContent-Length: 4\r\n\r\nma";

#[tokio::test]
async fn what_a_body_waits_for_this_server_is_not_held_against_its_sender() {
    let mut setup = cramped(5, Duration::from_secs(60));
    setup.limits.body_time = Duration::from_millis(400);
    let sender = setup.limits.body_time;
    let server = Server::start_as(setup).await;
    loop {
        // Each has the space for as long as its sender may take, if it comes before the one that has to wait.
        let mut dawdling = Vec::new();
        for _ in 0..2 {
            let mut stream = server.connect().await;
            send(&mut stream, HALF_A_BODY).await;
            dawdling.push(stream);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();

        assert_eq!(answer(server.hook("ping")).await.0, 200);

        if began.elapsed() > sender {
            return;
        }
    }
}

#[tokio::test]
async fn a_body_that_waits_for_this_server_too_long_is_put_off() {
    let mut setup = cramped(3, Duration::from_secs(60));
    setup.limits.body_work = Duration::from_millis(200);
    let server = Server::start_as(setup).await;

    let answer = server.hook("ping").send().await.unwrap();

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
}

#[tokio::test]
async fn a_store_that_cannot_write_is_503_and_tells_nothing_of_itself() {
    let server = Server::start_as(Setup {
        store_works: false,
        ..Setup::default()
    })
    .await;

    let answer = server.hook("main").send().await.unwrap();

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["outcome"], "refused");
    assert!(!words(&body, "error").contains("/var/lib"));
}

#[tokio::test]
async fn answers_stay_small_whatever_is_quoted_in_them() {
    let server = Server::start().await;
    let branch = "b".repeat(100_000);

    let answer = server.hook(branch).send().await.unwrap();

    assert!(answer.text().await.unwrap().len() < 8_000);
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_address_makes_no_difference() {
    let server = Server::start().await;

    let hook = server
        .request(Method::POST, "/hooks/trusting/")
        .header("x-signature", "good")
        .header("content-type", "application/json")
        .body("main");

    assert_eq!(answer(hook).await.0, 202);
}

#[tokio::test]
async fn a_webhook_at_a_wrong_address_is_told_the_right_one_in_plain_words() {
    let server = Server::start().await;
    for path in [
        "/hook/trusting",
        "/webhooks/trusting/",
        "/Hooks/Trusting",
        "/hooks",
        "/trusting",
        "/",
    ] {
        let hook = server.request(Method::POST, path).body("main");
        let answer = hook.send().await.unwrap();

        if path == "/" {
            assert_eq!(answer.status(), 405);
            continue;
        }
        assert_eq!(answer.status(), 404, "{path}");
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(kind, "text/plain; charset=utf-8", "{path}");
        let words = answer.text().await.unwrap();
        assert!(words.contains("/hooks/trusting\n"), "{words}");
        assert!(words.len() < 200, "{words}");
    }
}
