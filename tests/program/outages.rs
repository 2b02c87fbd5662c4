//! Somebody whom purgehook calls hangs.

use std::time::Instant;

use purgehook::sandbox::{Change, Fault, Service, When};

use crate::world::{World, states};

#[tokio::test]
async fn a_forge_that_hangs_under_a_storm_of_pushes_does_not_hold_up_another_forges() {
    let world = World::serving().await;
    let website = world.website();
    let docs = world.docs();
    let faults = world.sandbox.faults();
    faults.add(Service::GITHUB, "*", When::Always, Fault::Hang);
    for n in 0..40 {
        website.commit(
            "main",
            &[Change::write("static/app.css", format!("more {n}"))],
        );
        let (status, answer) = world.send(&website.push("main").unwrap()).await;
        assert_eq!(status, 202, "{answer}");
    }
    // Every step that may wait for it does.
    world
        .until("GitHub is being asked", |world| {
            world
                .sandbox
                .log()
                .iter()
                .any(|call| call.service == Service::GITHUB && call.summary.contains("/statuses/"))
        })
        .await;

    let commit = docs.commit("main", &[Change::write("docs/page.md", "second")]);
    let began = Instant::now();
    let run = world.accepted(&docs.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    let took = began.elapsed();
    println!("a push while another forge hangs took {took:?}");
    assert_eq!(run["state"], "succeeded");
    assert_eq!(world.shown(&docs, &commit).await, "success");
    assert!(
        states(&docs.statuses(&commit)).contains(&"pending"),
        "it is told from its beginning"
    );
    // A request that hangs is given up after 30 seconds.
    assert!(began.elapsed().as_secs() < 20, "{took:?}");
}
