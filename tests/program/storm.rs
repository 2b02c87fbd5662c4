//! One repository is pushed to without end, and another now and then.

use std::time::{Duration, Instant};

use purgehook::sandbox::{Change, Fault, Service, When};

use crate::world::World;

/// Pushes that come in as fast as they are taken. `PURGEHOOK_STORM` says how many; 150 otherwise.
fn pushes() -> usize {
    let variable = std::env::var("PURGEHOOK_STORM").ok();
    variable.map_or(150, |number| number.parse().unwrap())
}

async fn a_storm(mut world: World) {
    // GitHub's hour has 5,000 requests, and a storm may take more: that is another test's matter.
    world.sandbox.lift_github_limits();
    world.start().await;
    let website = world.website();
    let docs = world.docs();

    let (mut commits, mut deliveries) = (Vec::new(), Vec::new());
    for n in 0..pushes() {
        let page = format!("content/page-{}.md", n % 100);
        commits.push(website.commit("main", &[Change::write(page, format!("text {n}"))]));
        deliveries.push(website.push("main").unwrap());
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for (n, delivery) in deliveries.iter().enumerate() {
        let sent = Instant::now();
        let (status, answer) = world.send(delivery).await;
        assert_eq!(status, 202, "{answer}");
        slowest = slowest.max(sent.elapsed());
        if n == pushes() / 2 {
            let commit = docs.commit("main", &[Change::write("docs/page.md", "second")]);
            let pushed = Instant::now();
            let run = world.accepted(&docs.push("main").unwrap()).await;
            world.ended(&run).await;
            assert_eq!(world.shown(&docs, &commit).await, "success");
            println!(
                "in the midst of {} pushes to one repository, one to another took {:?} to its last status",
                pushes(),
                pushed.elapsed()
            );
            // Nothing of the storm has to be over for it. This is for a machine that is slow and busy.
            assert!(pushed.elapsed() < Duration::from_secs(20));
        }
    }
    println!(
        "all taken in {:?}, the slowest in {slowest:?}",
        began.elapsed()
    );

    for commit in &commits {
        assert_eq!(world.shown(&website, commit).await, "success", "{commit}");
    }
    let batches = world
        .sandbox
        .calls(Service::TENCENT_CDN, "PurgeUrlsCache")
        .len();
    println!(
        "every commit has its last status after {:?}; {batches} batches",
        began.elapsed()
    );
    // Pushes that come while others are purged are purged together. On a slow machine they come hardly faster than that.
    assert!(batches <= pushes() * 9 / 10, "{batches}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_pushes_to_one_repository_does_not_hold_up_another() {
    a_storm(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_come_faster_than_the_forge_compares_do_not_keep_each_other_from_being_purged()
{
    let mut world = World::new().await;
    world.start().await;
    // A push in 0.7 s is little work.
    world.step_aside();
    let docs = world.docs();
    let slow = Fault::Slow(Duration::from_secs(1));
    let faults = world.sandbox.faults();
    faults.add(Service::GITLAB, "GET compare", When::Always, slow);
    let batches = || world.sandbox.calls(Service::TENCENT_CDN, "PurgeUrlsCache");
    let mut commits = Vec::new();
    for n in 0..24 {
        let page = format!("docs/page-{n}.md");
        commits.push(docs.commit("main", &[Change::write(page, "new")]));
        world.accepted(&docs.push("main").unwrap()).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }

    let meanwhile = batches().len();
    println!("{meanwhile} batches went out while pushes came in");
    // A comparison takes longer than the next push: no plan may be thrown away for it.
    assert!(meanwhile >= 2, "{meanwhile}");
    for commit in &commits {
        assert_eq!(world.shown(&docs, commit).await, "success", "{commit}");
    }
}
