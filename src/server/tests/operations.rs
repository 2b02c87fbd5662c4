//! Tests health, metrics, common response headers, and stopping.

use serde_json::{Value, json};

use super::*;
use crate::forge::Denial;
use crate::store::{DeniedAccess, RepoKey, RepoRequest, Upstream};

fn broken() -> Setup {
    Setup {
        store_works: false,
        ..Setup::default()
    }
}

#[tokio::test]
async fn a_process_with_a_broken_store_lives_but_is_not_ready() {
    let server = Server::start_as(broken()).await;

    let alive = server.get("/healthz").send().await.unwrap();
    let ready = server.get("/readyz").send().await.unwrap();

    assert_eq!(alive.status(), 200);
    assert_eq!(alive.text().await.unwrap(), "ok\n");
    assert_eq!(ready.status(), 503);
    let body: Value = ready.json().await.unwrap();
    assert_eq!(
        body,
        json!({"ready": false, "store": "cannot be written to: it does not answer, or its disk fails", "rules": "ok", "reload": "ok", "serving": "ok", "clock": "ok"})
    );
}

#[tokio::test]
async fn a_server_with_a_store_and_rules_is_ready() {
    let server = Server::start().await;

    assert_eq!(
        server.json("/readyz").await,
        json!({"ready": true, "store": "ok", "rules": "ok", "reload": "ok", "serving": "ok", "clock": "ok"})
    );
}

#[tokio::test]
async fn a_server_that_stops_says_so_before_it_closes_the_door() {
    let mut setup = Setup::default();
    setup.limits.drain = Duration::from_secs(3_600);
    let server = Server::start_as(setup).await;

    server.stop.send_replace(true);
    let ready = server.get("/readyz").send().await.unwrap();

    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<Value>().await.unwrap()["serving"], "stopping");
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_server_that_was_told_to_stop_stops() {
    let server = Server::start().await;

    server.stop.send_replace(true);

    server._running.stopped().await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn metrics_count_deliveries_answers_runs_and_purges() {
    let server = Server::start().await;
    server.hook("ping").send().await.unwrap();
    server.hook("panic").send().await.unwrap();
    server.get("/hooks/made-up").send().await.unwrap();
    let run = server.run("main").await;
    server.write(&run.id, &[plan(&run.id, ["a", "b"])]).await;

    let text = server.page("/metrics").await;

    for line in [
        r#"purgehook_deliveries_total{forge="trusting",outcome="pong",status="200"} 1"#,
        r#"purgehook_deliveries_total{forge="trusting",outcome="refused",status="500"} 1"#,
        r#"purgehook_http_answers_total{route="/hooks/{forge}",status="404"} 1"#,
        r#"purgehook_runs{state="pending"} 1"#,
        r#"purgehook_runs{state="failed"} 0"#,
        r#"purgehook_pending_purges{cdn="tencent",kind="url",state="planned"} 2"#,
        "purgehook_store_up 1",
        r#"purgehook_removed_total{what="run"} 0"#,
        concat!(
            r#"purgehook_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("made-up"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn who_does_not_answer_is_named_on_the_page_and_in_the_metrics() {
    let server = Server::start().await;
    let account = server.engine.config().cdns["tencent"].account();
    let silent = Upstream::Cdn(account);
    let (store, now) = (server.engine.store(), server.engine.now());
    let pause = |failures| (failures > 1).then_some(Duration::from_secs(60));
    let up = r#"purgehook_upstream_up{kind="cdn",name="tencent"} 1"#;

    for said in [false, true] {
        let noted = store.record_failure(&silent, "it hangs <b>", now, pause);
        noted.await.unwrap();

        let page = server.page("/").await;
        assert_eq!(page.contains("No answer from the CDN tencent"), said);
        assert_eq!(page.contains("it hangs &#60;b&#62;"), said, "{page}");
        let metrics = server.page("/metrics").await;
        assert_eq!(!metrics.contains(up), said, "{metrics}");
        assert!(metrics.contains(r#"purgehook_upstream_up{kind="forge",name="trusting"} 1"#));
    }
}

#[tokio::test]
async fn what_a_forge_denies_a_site_is_named_on_its_card_in_readyz_and_in_the_metrics() {
    let server = Server::start().await;
    let config = server.engine.config();
    let site = config.sites.values().next().unwrap();
    let denied = DeniedAccess {
        key: RepoKey::new(&site.forge, &site.repo),
        access: RepoRequest::Read,
        denial: Denial::Token,
        since: server.engine.now(),
        error: "GitHub answered 401 <b>".to_owned(),
    };
    let store = server.engine.store();
    assert!(store.record_denial(&denied).await.unwrap());
    assert!(!store.record_denial(&denied).await.unwrap());

    let page = server.page("/").await;
    let sentence = format!(
        "{} denies requests to read the commits of {}",
        site.forge, site.repo
    );
    assert!(page.contains(&sentence), "{page}");
    assert!(page.contains("GitHub answered 401 &#60;b&#62;"), "{page}");
    let ready = server.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["denied"][0]["site"], site.name.as_str());
    assert_eq!(ready["denied"][0]["denial"], "token");
    assert_eq!(ready["denied"][0]["error"], "GitHub answered 401 <b>");
    let metrics = server.page("/metrics").await;
    for (denial, is_denied) in [("token", 1), ("permission", 0), ("repository", 0)] {
        let (site, forge) = (&site.name, &site.forge);
        let line = format!(
            r#"purgehook_site_denied{{site="{site}",forge="{forge}",denial="{denial}"}} {is_denied}"#
        );
        assert!(
            metrics.lines().any(|l| l == line),
            "{line} is not in\n{metrics}"
        );
    }
}

#[tokio::test]
async fn metrics_survive_a_broken_store() {
    let server = Server::start_as(broken()).await;

    let text = server.page("/metrics").await;

    assert!(text.contains("purgehook_store_up 0"), "{text}");
}

#[tokio::test]
async fn every_answer_forbids_what_pages_do_not_need() {
    let server = Server::start().await;

    for path in [
        "/",
        "/runs/x",
        "/api/v1/runs",
        "/hooks/x",
        "/healthz",
        "/none",
        "/assets/style.css",
    ] {
        let answer = server.get(path).send().await.unwrap();
        let headers = answer.headers();

        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert!(headers.contains_key("x-request-id"));
        let kept = headers["cache-control"] != "no-store";
        assert_eq!(kept, path.starts_with("/assets/"), "{path}");
    }
}

#[tokio::test]
async fn whatever_can_be_read_answers_to_head_and_to_nothing_else() {
    let server = Server::start().await;

    for path in [
        "/",
        "/api/v1/runs",
        "/healthz",
        "/readyz",
        "/metrics",
        "/assets/icon.svg",
    ] {
        let head = server.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.text().await.unwrap(), "");

        let post = server.request(Method::POST, path).send().await.unwrap();
        assert_eq!(post.status(), 405, "{path}");
        assert_eq!(post.headers()["allow"], "GET, HEAD");
    }
}
