//! The largest bodies, all at once, while small pushes go on.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::compare::{Bar, Figures, Scenario};
use crate::disk::Disk;
use crate::receivers::Receiver::{self, Base, Node, Plain, Purgehook};
use crate::rules::rules_of_sites;
use crate::support::block_on;
use crate::support::figures::Times;
use crate::support::server::{Server, Usage};
use crate::support::webhook::{Chain, Push, Request, connect, read_answer, repo_name};

/// How many there are, each for a site of its own. The small ones are for another.
const COUNT: usize = 64;
/// Bytes of a body: GitHub caps a payload at 25 MB.
const LARGEST: usize = 24 << 20;
/// Between two small pushes.
const PACE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(120);

/// Places among the further figures.
const REFUSED: usize = 0;
const CPU_MS: usize = 1;
const SMALL: usize = 2;
const SMALL_ALONE: usize = 3;

pub fn scenarios(time: Duration) -> Vec<Scenario> {
    vec![Scenario {
        name: "24mb",
        what: format!("{COUNT} bodies of 24 MB at once, and a small push every 10 ms"),
        receivers: vec![Node, Plain, Base, Purgehook],
        most_rounds: 2,
        round: Box::new(move |receiver, folder: &Path| round(receiver, folder, time)),
        more: &["refused", "CPU ms each", "small p99", "small alone"],
        bars: vec![
            Bar::AtMost("refused", |figures| figures.more[REFUSED], 0.0),
            Bar::AtMost("RSS in MB", |figures| figures.memory_mb, 150.0),
            Bar::AtMost("CPU in ms", |figures| figures.more[CPU_MS], 110.0),
            Bar::AtMost(
                "p99 of small pushes, as a multiple of that without them,",
                |figures| figures.more[SMALL] / figures.more[SMALL_ALONE],
                2.0,
            ),
        ],
    }]
}

fn round(receiver: Receiver, folder: &Path, time: Duration) -> Figures {
    let rules = rules_of_sites(COUNT + 1, "observe");
    let server = receiver.start(folder, &rules, &Disk::as_it_is(folder));
    let push = Push {
        size: LARGEST,
        ..Push::default()
    };
    let chain = Chain::new(COUNT, COUNT);
    let requests: Vec<Request> = (0..COUNT).map(|n| chain.next(&push, n)).collect();

    let (alone, used) = beside_small_pushes(&server, 0, || std::thread::sleep(time));
    let share = used.cpu.div_f64(time.as_secs_f64());
    let began = Instant::now();
    let first = alone.count() as u64;
    let mut refused = 0;
    let (meanwhile, used) = beside_small_pushes(&server, first, || {
        refused = block_on(send(&server.address, &requests));
    });
    let cpu = used
        .cpu
        .saturating_sub(share.mul_f64(began.elapsed().as_secs_f64()));
    let accepted = (COUNT - refused) as f64;
    let mut figures = Figures {
        memory_mb: server.memory_kb("VmHWM") as f64 / 1_024.0,
        ..Figures::default()
    };
    figures.more[REFUSED] = refused as f64;
    figures.more[CPU_MS] = cpu.as_secs_f64() * 1e3 / accepted;
    figures.more[SMALL] = meanwhile.ms(0.99);
    figures.more[SMALL_ALONE] = alone.ms(0.99);
    figures
}

/// Small pushes while something happens, from a number on: how long their answers took, and what the program used.
fn beside_small_pushes(server: &Server, first: u64, happens: impl FnOnce()) -> (Times, Usage) {
    let (over, ended) = watch::channel(false);
    let address = server.address.clone();
    // On a thread of its own, so that it does not wait for the large ones.
    let pushing = std::thread::spawn(move || {
        let repo = repo_name(COUNT);
        let push = Push {
            repo: &repo,
            ..Push::default()
        };
        block_on(push.repeat(&address, first, "202", PACE, ended))
    });
    let before = server.usage();
    happens();
    let used = server.usage() - before;
    over.send_replace(true);
    (pushing.join().unwrap().into(), used)
}

/// Sends all of them at once; how many were not accepted.
async fn send(address: &str, requests: &[Request]) -> usize {
    let senders = requests.iter().map(async |request| {
        let mut stream = connect(address).await;
        request.send(&mut stream).await;
        let mut answer = vec![0; 16 * 1024];
        let answer = read_answer(&mut stream, &mut answer).await;
        answer.starts_with("HTTP/1.1 202 ")
    });
    let accepted = timeout(PATIENCE, join_all(senders)).await.unwrap();
    accepted.into_iter().filter(|accepted| !accepted).count()
}
