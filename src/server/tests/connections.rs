//! Tests the limits of connections: deadlines for headers, between requests and for responses; connections per
//! address.

use std::io::ErrorKind;
use std::time::Instant;

use tokio::net::TcpSocket;

use super::*;

const ASK: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const HEAD_TIME: Duration = Duration::from_millis(300);
/// Long enough that it cannot be taken for a head's time.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

fn strict() -> Setup {
    let mut setup = Setup::default();
    setup.limits.head_time = HEAD_TIME;
    setup.limits.keep_alive = KEEP_ALIVE;
    setup
}

/// Reads one answer of `/healthz`, and nothing behind it.
async fn read_ok(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        read.extend(byte);
    }
    assert!(read.starts_with(b"HTTP/1.1 200 "));
}

/// How long the server takes to close, and what it says before.
async fn closed(stream: &mut TcpStream) -> (Duration, String) {
    let started = Instant::now();
    let said = read_to_end(stream).await;
    (started.elapsed(), said)
}

#[tokio::test]
async fn each_head_on_a_connection_has_the_same_time() {
    let server = Server::start_as(strict()).await;
    for earlier in [0, 1, 3] {
        for begin in ["G", "GET /healthz HTTP/1.1\r\nHost: x\r\n"] {
            let mut stream = server.connect().await;
            for _ in 0..earlier {
                send(&mut stream, ASK).await;
                read_ok(&mut stream).await;
            }

            send(&mut stream, begin).await;
            let (time, said) = closed(&mut stream).await;

            assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
            assert!(time < KEEP_ALIVE / 2, "after {earlier}: {time:?}");
        }
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_has_no_more_time() {
    let server = Server::start_as(strict()).await;
    let mut stream = server.connect().await;
    send(&mut stream, ASK).await;
    read_ok(&mut stream).await;
    let (mut reading, mut writing) = stream.into_split();
    let started = Instant::now();

    let dripping = tokio::spawn(async move {
        for byte in ASK.bytes().cycle() {
            if writing.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut said = String::new();
    let _ = reading.read_to_string(&mut said).await;

    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(started.elapsed() < KEEP_ALIVE / 2);
    dripping.abort();
}

#[tokio::test]
async fn a_head_that_begins_together_with_the_one_before_has_no_more_time() {
    let server = Server::start_as(strict()).await;
    let mut stream = server.connect().await;

    send(&mut stream, &format!("{ASK}{ASK}G")).await;
    read_ok(&mut stream).await;
    read_ok(&mut stream).await;
    let (time, _) = closed(&mut stream).await;

    assert!(time < KEEP_ALIVE / 2, "{time:?}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_closed() {
    let server = Server::start_as(strict()).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    send(&mut idle, ASK).await;
    read_ok(&mut idle).await;

    let (silent_time, _) = closed(&mut silent).await;
    let (idle_time, said) = closed(&mut idle).await;

    assert!(silent_time < KEEP_ALIVE / 2, "{silent_time:?}");
    assert!(silent_time + idle_time >= KEEP_ALIVE - HEAD_TIME);
    assert_eq!(said, "");
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_does_not_keep_a_connection_open() {
    let server = Server::start_as(strict()).await;
    for path in ["/healthz", "/nothing/here", "/api/v1/runs/x/retry"] {
        let mut stream = server.connect().await;
        send(
            &mut stream,
            &format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
        )
        .await;
        let (mut reading, mut writing) = stream.into_split();
        let started = Instant::now();

        let dripping = tokio::spawn(async move {
            while writing.write_all(b"1\r\nx\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let _ = reading.read_to_end(&mut Vec::new()).await;

        let time = started.elapsed();
        assert!(time < KEEP_ALIVE / 2, "{path}: {time:?}");
        dripping.abort();
    }
}

#[tokio::test]
async fn a_connection_that_is_used_stays_open() {
    let server = Server::start_as(strict()).await;
    let mut stream = server.connect().await;
    let started = Instant::now();

    while started.elapsed() < 3 * HEAD_TIME {
        send(&mut stream, ASK).await;
        read_ok(&mut stream).await;
        tokio::time::sleep(HEAD_TIME / 5).await;
    }
}

/// A connection that asks for more than fits on the way, and reads nothing of it.
async fn asks_and_does_not_read(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let ask = "GET /assets/style.css HTTP/1.1\r\nHost: x\r\n\r\n";
    // Until the server does not read either.
    loop {
        let sending = stream.write_all(ask.as_bytes());
        let sent = tokio::time::timeout(Duration::from_millis(200), sending).await;
        if !matches!(sent, Ok(Ok(()))) {
            return stream;
        }
    }
}

#[tokio::test]
async fn who_does_not_read_is_given_up() {
    let mut setup = Setup::default();
    setup.limits.unread_time = Duration::from_millis(500);
    let server = Server::start_as(setup).await;
    let stream = asks_and_does_not_read(&server).await;

    let reset = async {
        loop {
            match stream.try_write(b"G") {
                Err(error) if error.kind() != ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };

    let given_up = tokio::time::timeout(Duration::from_secs(10), reset).await;
    assert!(given_up.is_ok(), "the connection is still there");
}

#[tokio::test]
async fn who_reads_slowly_but_steadily_gets_the_whole_answer() {
    let mut setup = Setup::default();
    setup.limits.unread_time = Duration::from_secs(3);
    let server = Server::start_as(setup).await;
    let mut stream = asks_and_does_not_read(&server).await;
    let mut read = 0;
    let started = Instant::now();

    while started.elapsed() < Duration::from_secs(5) {
        let mut some = [0; 8 * 1024];
        let count = stream.read(&mut some).await.unwrap();
        assert_ne!(count, 0, "closed after {read} bytes");
        read += count;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection from another address of this machine.
async fn connect_from(address: &str, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(format!("{address}:0").parse().unwrap())
        .unwrap();
    socket.connect(server.address).await.unwrap()
}

#[tokio::test]
async fn an_address_holds_its_share_of_the_connections_and_no_more() {
    let rules = RULES.replace("server:\n", "server:\n  connections_per_address: 2\n");
    let server = Server::start_as(Setup {
        rules,
        ..Setup::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect_from("127.0.0.2", &server).await;
        send(&mut stream, ASK).await;
        read_ok(&mut stream).await;
        held.push(stream);
    }

    let mut one_more = connect_from("127.0.0.2", &server).await;
    let mut other = connect_from("127.0.0.3", &server).await;
    send(&mut other, ASK).await;
    read_ok(&mut other).await;
    assert_eq!(closed(&mut one_more).await.1, "");

    held.pop();
    loop {
        let mut again = connect_from("127.0.0.2", &server).await;
        let _ = again.write_all(ASK.as_bytes()).await;
        if again.read(&mut [0]).await.is_ok_and(|count| count == 1) {
            break;
        }
    }
}
