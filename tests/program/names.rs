//! Names that cannot be resolved.

use std::time::{Duration, Instant};

use purgehook::purge::PurgeKind;
use purgehook::sandbox::{Area, Change};

use crate::surroundings::{Surroundings, named};
use crate::world::World;

/// The CDN of the website, the forge of the docs and the CDN of the blog go by names.
async fn by_names() -> (World, Surroundings) {
    let mut world = World::new().await;
    let surroundings = Surroundings::of(&mut world);
    let tencent = named("tencent.test", &world.sandbox.tencent_cdn().url());
    let gitlab = named("gitlab.test", &world.sandbox.gitlab().url());
    let huawei = world.sandbox.huawei_cdn();
    huawei.add_domain("www.example.com", Area::Mainland);
    huawei.set_duration(Duration::from_millis(300));
    world.edit_rules(
        "cdns:\n",
        &format!(
            "cdns:\n  huawei:\n    kind: huawei-cdn\n    access_key: '{}'\n    secret_key: '{}'\n    endpoint: '{}'\n",
            huawei.secret_id(),
            huawei.secret_key(),
            named("huawei.test", &huawei.url())
        ),
    );
    world.edit_rules(
        "base_urls: [\"https://www.example.com\", \"https://gone.example.com\"]\n    cdns: [tencent]",
        "base_urls: [\"https://www.example.com\"]\n    cdns: [huawei]",
    );
    world.set_variable("TENCENT_URL", &tencent);
    world.set_variable("GITLAB_URL", &gitlab);
    (world, surroundings)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_name_that_cannot_be_resolved_waits_for_it_and_nothing_else_does() {
    let (mut world, surroundings) = by_names().await;
    surroundings.order("name-tencent.test", "again");
    surroundings.order("name-gitlab.test", "none");
    world.start().await;
    let website = world.website();
    let docs = world.docs();
    let blog = world.sandbox.github().create_repo("acme/blog", "main");
    blog.commit("main", &[Change::write("posts/a.md", "first")]);
    blog.push("main");

    let to_website = website.commit("main", &[Change::write("content/about.md", "second")]);
    world.accepted(&website.push("main").unwrap()).await;
    let to_docs = docs.commit("main", &[Change::write("docs/page.md", "second")]);
    world.accepted(&docs.push("main").unwrap()).await;
    let to_blog = blog.commit("main", &[Change::write("posts/a.md", "second")]);
    let began = Instant::now();
    world.accepted(&blog.push("main").unwrap()).await;

    assert_eq!(world.shown(&blog, &to_blog).await, "success");
    println!("a push with other names took {:?}", began.elapsed());
    world.step_aside();
    let no_tencent =
        "the name tencent.test could not be resolved: Temporary failure in name resolution";
    world
        .until("the commit says which name", |_| {
            let shown = website.statuses(&to_website).pop();
            shown.is_some_and(|shown| {
                shown.state == "pending"
                    && shown
                        .description
                        .unwrap_or_default()
                        .contains("the name tencent.test could not be resolved")
            })
        })
        .await;
    println!("the commit says it after {:?}", began.elapsed());
    let page = world.text("/").await;
    assert!(page.contains(no_tencent), "{page}");
    assert!(
        page.contains("the name gitlab.test could not be resolved: Name or service not known"),
        "{page}"
    );
    assert!(
        website
            .statuses(&to_website)
            .iter()
            .all(|status| status.state == "pending")
    );

    surroundings.take_back("name-tencent.test");
    surroundings.take_back("name-gitlab.test");
    assert_eq!(world.shown(&website, &to_website).await, "success");
    assert_eq!(world.shown(&docs, &to_docs).await, "success");
    println!("all is well after {:?}", began.elapsed());
    let mut purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    purged.sort();
    // Each of them once: what could not be sent was not sent.
    assert_eq!(
        purged,
        [
            "https://docs.example.com/page/",
            "https://www.example.com/about/"
        ]
    );
}
