//! One site on several CDNs, where one has trouble of its own.

use purgehook::purge::{PurgeKind, PurgeState};
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Fault, Service, When};

use crate::world::World;

const CDNS: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
  ecdn: {kind: tencent-ecdn, endpoint: '${ECDN_URL}', migrated_to: tencent}
  old: {kind: qcloud, endpoint: '${QCLOUD_URL}'}
  huawei: {kind: huawei-cdn, endpoint: '${HUAWEI_URL}'}
";

fn rules(cdns: &str) -> String {
    format!(
        "{CDNS}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: {cdns}
    rules:
      - {{match: ['*.html'], urls: ['/{{path}}']}}
      - {{match: ['theme/**'], directories: ['/{{dir}}/']}}
"
    )
}

#[tokio::test]
async fn one_cdn_that_refuses_does_not_stop_the_three_others() {
    let world = World::new(1, &rules("[tencent, ecdn, old, huawei]")).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    world.sandbox.faults().add(
        Service::HUAWEI_CDN,
        "POST refresh-tasks",
        When::Always,
        Fault::Code("CDN.0202".to_owned()),
    );
    let commit = website.commit(
        "main",
        &[
            Change::write("index.html", "second"),
            Change::write("about.html", "second"),
            Change::write("theme/dark.css", "second"),
        ],
    );

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let purges = world.store().purges(&run, 0, 100).await.unwrap();
    for cdn in ["tencent", "ecdn", "old", "huawei"] {
        let expected = match cdn {
            "huawei" => PurgeState::Failed,
            _ => PurgeState::Done,
        };
        let of_cdn: Vec<_> = purges.iter().filter(|p| p.planned.cdn == cdn).collect();
        assert_eq!(of_cdn.len(), 3, "{cdn}");
        for purge in of_cdn {
            assert_eq!(purge.state, expected, "{purge:?}");
        }
    }
    assert_eq!(world.run(&run).await.state, RunState::Failed);
    let shown = website.statuses(&commit).pop().unwrap();
    assert_eq!(shown.state, "failure");
    let description = shown.description.unwrap();
    assert!(
        description.starts_with("3 of 12 targets failed"),
        "{description}"
    );
    assert!(
        description.contains("Huawei CDN refused") && description.contains("CDN.0202"),
        "{description}"
    );
}

#[tokio::test]
async fn purges_of_a_service_that_has_moved_go_to_the_one_it_moved_to_once() {
    let world = World::new(1, &rules("[ecdn]")).await;
    world.sandbox.tencent_ecdn().set_migrated(true);
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let commit = website.commit(
        "main",
        &[
            Change::write("index.html", "second"),
            Change::write("about.html", "second"),
        ],
    );

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let run = world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    assert_eq!(
        world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url),
        [
            "https://www.example.com/about.html",
            "https://www.example.com/index.html"
        ]
    );
    let asked = world.sandbox.calls(Service::TENCENT_ECDN, "PurgeUrlsCache");
    assert_eq!(asked.len(), 1, "it says so once, that is enough");
    assert!(world.sandbox.tencent_ecdn().purged().is_empty());
    assert_eq!(website.statuses(&commit).last().unwrap().state, "success");
}

#[tokio::test]
async fn a_site_on_a_service_and_on_the_one_it_moved_to_is_purged_on_both_entries() {
    let world = World::new(1, &rules("[tencent, ecdn]")).await;
    world.sandbox.tencent_ecdn().set_migrated(true);
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    website.commit("main", &[Change::write("index.html", "second")]);

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let run = world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    let mut urls = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    urls.dedup();
    assert_eq!(urls, ["https://www.example.com/index.html"]);
}

#[tokio::test]
async fn what_one_action_of_a_cdn_takes_goes_out_at_one_rate() {
    let limits = "limits: {urls_per_request: 1, directories_per_request: 1}";
    let rules = rules("[huawei]").replace("${HUAWEI_URL}'", &format!("${{HUAWEI_URL}}', {limits}"));
    let world = World::new(1, &rules).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let changes: Vec<_> = (0..20)
        .flat_map(|n| [format!("{n}.html"), format!("theme/{n}/dark.css")])
        .map(|path| Change::write(path, "second"))
        .collect();
    website.commit("main", &changes);

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let run = world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    let calls = world
        .sandbox
        .calls(Service::HUAWEI_CDN, "POST refresh-tasks");
    assert_eq!(calls.len(), 40, "files and directories");
    let took = calls[39].at.duration_since(calls[0].at);
    assert!(took.as_millis() >= 39 * 200, "{took:#} at 5 a second");
}
