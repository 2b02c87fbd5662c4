//! Bodies as large as forges send them: on the disk while they arrive, kept as they came, and nothing left of
//! those that were not taken in.

use std::path::Path;
use std::time::Duration;

use purgehook::sandbox::{Change, Delivery};
use purgehook::store::{RunFilter, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::World;

/// GitHub caps a payload at 25 MB.
const LARGEST: usize = 24 << 20;

/// A push to the site whose body has so many bytes, signed.
fn large_push(world: &World, website: &purgehook::sandbox::Repository, size: usize) -> Delivery {
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let mut delivery = website.push("main").unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let filling = size - delivery.body.len() - r#","filling":"""#.len();
    let filling: String = (0..filling).map(|_| random.alphanumeric()).collect();
    let end = delivery.body.pop();
    assert_eq!(end, Some(b'}'));
    let rest = format!(r#","filling":"{filling}"}}"#);
    delivery.body.extend_from_slice(rest.as_bytes());
    let secret = world.sandbox.github().webhook_secret();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hex::encode(ring::hmac::sign(&key, &delivery.body).as_ref());
    for (name, value) in &mut delivery.headers {
        if name.eq_ignore_ascii_case("x-hub-signature-256") {
            *value = format!("sha256={signature}");
        }
    }
    delivery
}

/// The one delivery that is kept, and its body.
async fn kept_body(world: &mut World) -> Vec<u8> {
    let store = Store::open(world.database()).await.unwrap();
    let newest = RunFilter {
        limit: 1,
        ..RunFilter::default()
    };
    let run = store.runs(&newest).await.unwrap().remove(0);
    let delivery = store.delivery(&run.delivery.unwrap()).await.unwrap();
    let mut body = Vec::new();
    let kept = delivery.unwrap().body;
    store.read_body(&kept, &mut body).await.unwrap();
    body
}

/// How many rows a table has.
fn count(world: &World, table: &str) -> i64 {
    let path = world.folder().join("purgehook.db");
    let database = rusqlite::Connection::open(path).unwrap();
    let sql = format!("SELECT COUNT(*) FROM {table}");
    database.query_row(&sql, [], |row| row.get(0)).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The head of the request for a delivery.
fn head(delivery: &Delivery) -> String {
    let mut head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", delivery.path);
    for (name, value) in &delivery.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", delivery.body.len()));
    head
}

/// Sends all of a delivery but its last bytes.
async fn send_most(world: &World, delivery: &Delivery, but: usize) -> TcpStream {
    let address = world.base().replace("http://", "");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head(delivery).as_bytes()).await.unwrap();
    let most = delivery.body.len() - but;
    stream.write_all(&delivery.body[..most]).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_body_is_kept_byte_by_byte_and_purged_for() {
    let mut world = World::serving_alone().await;
    let website = world.website();
    let push = large_push(&world, &website, LARGEST);

    let run = world.accepted(&push).await;

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    assert!(kept_body(&mut world).await == push.body);
    let blocks = count(&world, "body_blocks");
    let again = world.send(&push).await;
    assert_eq!((again.0, &again.1["outcome"]), (200, &"duplicate".into()));
    assert_eq!(count(&world, "unfinished_bodies"), 0);
    assert_eq!(count(&world, "body_blocks"), blocks, "of the first alone");
    assert!(blocks >= 96);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_with_a_wrong_signature_leaves_no_file_and_no_row() {
    let world = World::serving().await;
    let website = world.website();
    let mut push = large_push(&world, &website, 5_000_000);
    *push.body.last_mut().unwrap() = b' ';
    let before = files(world.folder());

    let (status, answer) = world.send(&push).await;

    assert_eq!(status, 401, "{answer}");
    assert_eq!(files(world.folder()), before);
    for table in ["deliveries", "body_blocks", "unfinished_bodies"] {
        assert_eq!(count(&world, table), 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_large_body_comes_in_leaves_nothing_of_it_after_the_next_start() {
    for at in ["arriving", "before:4", "after:4", "before:6", "after:8"] {
        let mut world = World::new().await;
        world
            .start_to_die(at.strip_prefix("arriving").map_or(at, |_| "after:100000"))
            .await;
        let website = world.website();
        let push = large_push(&world, &website, 8_000_000);
        let before = files(world.folder());

        if at == "arriving" {
            let _stream = send_most(&world, &push, 10).await;
            assert_eq!(files(world.folder()), before);
            world.kill();
        } else {
            assert!(push.send(&world.base()).await.is_err(), "{at}");
            world.until_it_has_died().await;
        }
        assert_eq!(count(&world, "deliveries"), 0, "{at}");
        world.start().await;

        for table in ["deliveries", "body_blocks", "unfinished_bodies"] {
            assert_eq!(count(&world, table), 0, "{table} after {at}");
        }
        assert_eq!(files(world.folder()), before);
        world.accepted(&push).await;
        assert!(kept_body(&mut world).await == push.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_that_dawdle_hold_little_memory_and_nobody_up() {
    const SENDERS: usize = 20;
    const SIZE: usize = 5_000_000;
    let world = World::serving().await;
    let website = world.website();
    let push = large_push(&world, &website, SIZE);
    let before = world.memory_kb("VmRSS");

    let mut streams = Vec::new();
    for _ in 0..SENDERS {
        streams.push(send_most(&world, &push, 1).await);
    }
    let held = world.memory_kb("VmHWM") - before;
    website.commit("main", &[Change::write("content/about.md", "third")]);
    let small = website.push("main").unwrap();
    world.accepted(&small).await;

    println!("{SENDERS} bodies of {SIZE} bytes, all but one byte of each: {held} kB");
    assert!(held < 30_000, "{held} kB");
    let mut answer = [0; 12];
    let last = &push.body[SIZE - 1..];
    let stream = &mut streams[SENDERS - 1];
    stream.write_all(last).await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 202");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_that_the_disk_has_no_space_for_is_refused_and_accepted_later() {
    let mut world = World::serving().await;
    let website = world.website();
    let push = large_push(&world, &website, 5_000_000);

    world.let_files_grow(false);
    let refused = world.answer_to(&push).await;
    world.let_files_grow(true);

    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.retry_after.as_deref(), Some("10"));
    world.answers("/readyz", r#""ready":true"#).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.accepted(&push).await;
    assert!(kept_body(&mut world).await == push.body);
}
