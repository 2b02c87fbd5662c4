//! Pushes whose deliveries were lost, found by asking the forge for the head of the branch.

use purgehook::sandbox::Change;

use crate::world::{ONE_SITE, World};

#[tokio::test]
async fn a_push_that_was_lost_right_after_another_is_found_as_soon_as_that_one_is_old_enough() {
    let rules = ONE_SITE.replace("    base_urls", "    settle: 0s\n    base_urls");
    let world = World::new(9, &rules).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("a.html", "first")]);
    world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;
    let began = world.clock.now();
    world.ask_to_reconcile("www").await;
    website.commit("main", &[Change::write("a.html", "lost")]);
    website.push("main");

    while world.runs().await.len() < 2 {
        world.step().await;
    }

    let took = world.clock.now().duration_since(began);
    assert!(took.as_secs() <= 75, "{took}");
}
