//! An account's rate, whoever sends.

use std::time::Duration;

use purgehook::sandbox::{Change, Service};

use crate::world::World;

#[tokio::test]
async fn two_replicas_keep_an_accounts_rate_between_them() {
    let mut world = World::with_replicas(2).await;
    world.edit_rules(
        "    endpoint: ${TENCENT_URL}\n",
        "    endpoint: ${TENCENT_URL}\n    limits: {requests_per_second: 4, urls_per_request: 1}\n",
    );
    world.settle_at_once();
    world.start_replica(0).await;
    world.start_replica(1).await;
    let website = world.website();
    let pages = (0..16).map(|n| Change::write(format!("content/page-{n}.md"), "second"));
    website.commit("main", &pages.collect::<Vec<_>>());

    let run = world.accepted(&website.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    assert_eq!(run["state"], "succeeded", "{run}");
    // Their answers take a while, too, so that the other replica may send what is next.
    for action in ["PurgeUrlsCache", "DescribePurgeTasks"] {
        let calls = world.sandbox.calls(Service::TENCENT_CDN, action);
        let gaps = calls.iter().zip(calls.iter().skip(1));
        let shortest = gaps.map(|(one, next)| next.at.duration_since(one.at));
        let shortest = Duration::try_from(shortest.min().unwrap()).unwrap();
        println!("{action}: {} calls, {shortest:?} apart", calls.len());
        // What a request takes on its way differs by some milliseconds.
        assert!(
            shortest >= Duration::from_millis(200),
            "{action} {shortest:?}"
        );
        if action == "PurgeUrlsCache" {
            assert_eq!(calls.len(), 16);
        }
    }
}
