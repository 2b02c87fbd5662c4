//! The reference of HTTP names the routes that are served.

use purgehook::clock::Clock;
use purgehook::http::Outbound;
use purgehook::sandbox::Change;

use super::Page;
use crate::world::World;

#[tokio::test]
async fn every_route_of_the_reference_is_served() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    let page = Page::read("docs/reference/http.md");
    let client = Outbound::new(Clock::system()).unwrap().http;

    let mut seen = 0;
    for line in page.prose().lines() {
        let Some((route, _)) = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once('`'))
        else {
            continue;
        };
        let Some((method, path)) = route.split_once(' ') else {
            continue;
        };
        let method: reqwest::Method = method.parse().unwrap();
        let path = path.replace("{id}", &run);
        seen += 1;
        let asked = client.request(method, format!("{}{path}", world.base()));
        let status = asked.send().await.unwrap().status().as_u16();
        assert!(![404, 405].contains(&status), "{route}: {status}");
    }

    assert!(seen >= 8, "only {seen} were found");
}
