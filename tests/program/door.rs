//! The program's door stays open for signed pushes, whoever stands in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use purgehook::sandbox::{Change, Delivery, Repository};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::signing::{Proof, resigned};
use crate::world::World;

/// A push of one commit that adds so many files.
fn push_of(website: &Repository, files: usize) -> Delivery {
    let changes: Vec<Change> = (0..files)
        .map(|n| Change::write(format!("content/{}/{n:06}.md", n % 100), "new"))
        .collect();
    website.commit("main", &changes);
    website.push("main").unwrap()
}

/// A connection that takes in hardly anything by itself.
async fn connect(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let address = world.base().replace("http://", "");
    socket.connect(address.parse().unwrap()).await.unwrap()
}

/// How long the slowest of some signed pushes took to be answered.
async fn slowest_push(world: &World, website: &Repository, pushes: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..pushes {
        website.commit("main", &[Change::write("content/about.md", n.to_string())]);
        let push = website.push("main").unwrap();
        let started = Instant::now();
        world.accepted(&push).await;
        slowest = slowest.max(started.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_large_run_and_does_not_read_costs_little_and_is_given_up() {
    const FILES: usize = 40_000;
    let world = World::serving().await;
    let website = world.website();
    let push = push_of(&website, FILES);
    let run = world.accepted(&push).await;
    let path = format!("/api/v1/runs/{run}?cursor={}", FILES - 1);
    world.answers(&path, r#""kind":"url""#).await;
    let before = world.memory_kb("VmRSS:");
    let sockets = world.sockets();

    let mut connections = Vec::new();
    for _ in 0..30 {
        let mut connection = connect(&world).await;
        let ask = format!("GET /api/v1/runs/{run} HTTP/1.1\r\nHost: x\r\n\r\n");
        connection.write_all(ask.as_bytes()).await.unwrap();
        connections.push(connection);
    }
    let asked = Instant::now();
    let slowest = slowest_push(&world, &website, 20).await;
    let most = world.memory_kb("VmHWM:").max(before) - before;
    println!("{most} kB more; slowest push {slowest:?}");

    assert!(most < 100_000, "{most} kB");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    world.step_aside();
    // Nothing is read here, so only the program can say that it has given them up.
    while world.sockets() > sockets {
        assert!(asked.elapsed() < Duration::from_secs(120), "still open");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(connections);
}

/// The permissions of a file, in octal.
fn mode(path: &Path) -> String {
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    format!("{:o}", mode & 0o777)
}

#[tokio::test]
async fn what_is_kept_is_readable_for_its_owner_alone_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let world = World::new().await;
        let serve = world.command(0, &["serve"]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("umask {umask}; exec \"$0\" serve")])
            .arg(serve.get_program())
            .envs(
                serve
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stderr(Stdio::null());
        let mut program = shell.spawn().unwrap();

        world.answers_at_all("/readyz").await;
        let files = ["purgehook.db", "purgehook.db-wal", "purgehook.db-shm"];
        let modes = files.map(|name| mode(&world.folder().join(name)));
        program.kill().unwrap();
        program.wait().unwrap();

        assert_eq!(modes, ["600"; 3], "umask {umask}");
    }
}

/// A delivery of another event, with another body.
fn of_event(delivery: &Delivery, event: &str, body: &str, proof: Proof<'_>) -> Delivery {
    let entry = delivery.path.rsplit('/').next().unwrap();
    let mut other = resigned(delivery, entry, body.as_bytes().to_vec(), proof);
    for (name, value) in &mut other.headers {
        if name.to_ascii_lowercase().ends_with("-event") {
            *value = event.to_owned();
        }
    }
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nothing_waits_for_is_answered_200_whatever_it_lacks() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let push = website.push("main").unwrap();
    let github = Proof::Hmac(world.sandbox.github().webhook_secret());

    for (event, body) in [
        ("star", "{}"),
        ("star", r#"{"repository": {}}"#),
        ("star", r#"{"repository": 7}"#),
        ("check_run", "[]"),
        ("ping", "{}"),
        ("workflow_run", "{}"),
        (
            "workflow_run",
            r#"{"action": "completed", "workflow_run": {"path": null}}"#,
        ),
        (
            "deployment_status",
            r#"{"repository": {"full_name": "acme/website"}}"#,
        ),
        ("release", r#"{"action": "published", "release": {}}"#),
        ("page_build", r#"{"id": null}"#),
        // No site is of this repository.
        ("push", r#"{"repository": {"full_name": "acme/other"}}"#),
    ] {
        let (status, answer) = world.send(&of_event(&push, event, body, github)).await;

        assert_eq!(status, 200, "{event} {body}: {answer}");
    }
    // Pushes to this one are waited for.
    for body in ["{}", r#"{"repository": {"full_name": "acme/website"}}"#] {
        let (status, answer) = world.send(&of_event(&push, "push", body, github)).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_this_machine_takes_no_proxy() {
    let mut world = World::new().await;
    for name in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
        // Nothing listens there.
        world.set_variable(name, "http://127.0.0.1:9");
    }
    world.start().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);

    let run = world.accepted(&website.push("main").unwrap()).await;

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    let listen = world.base().replace("http://", "");
    let asked = world.run(&["healthcheck", "--listen", &listen], "");
    assert!(asked.status.success(), "{asked:?}");
}
