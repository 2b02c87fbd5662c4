//! Tests that pages are correct and safe; their layout is not tested.

use super::*;

const HOSTILE: &str = "<script>alert(1)</script>&\"'";

#[tokio::test]
async fn whatever_comes_from_outside_is_text_on_every_page() {
    let server = Server::start().await;
    let run = server.run(HOSTILE).await;
    let purge = PlannedPurge {
        rule: HOSTILE.to_owned(),
        ..planned(HOSTILE)
    };
    let known = Run {
        summary: HOSTILE.to_owned(),
        proof: Some(Completeness::Proven(Proof::Payload)),
        ..run.clone()
    };
    let writes = [
        Write::Run(known),
        changes(&run.id, [HOSTILE]),
        Write::Purges(run.id.clone(), vec![new_purge(purge)]),
        became(&run.id, 1, PurgeState::Failed, Some(HOSTILE)),
        Write::Posted(run.id.clone(), 1, Posting::Refused(HOSTILE.to_owned())),
    ];
    server.write(&run.id, &writes).await;

    for path in ["/".to_owned(), format!("/runs/{}", run.id)] {
        let page = server.page(&path).await;

        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("<b>"), "{page}");
        assert!(
            page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_hostile_address_is_not_repeated() {
    let server = Server::start().await;

    for path in [
        "/?site=<script>",
        "/?state=<script>",
        "/<script>",
        "/runs/<script>",
    ] {
        let answer = server.get(path).send().await.unwrap();

        assert!(!answer.text().await.unwrap().contains("<script"), "{path}");
    }
}

#[tokio::test]
async fn the_dashboard_shows_sites_with_their_last_run_and_leads_to_runs() {
    let server = Server::start().await;
    let run = server.run("main").await;
    server.end(&run, RunState::Succeeded, "2 URLs purged").await;

    let page = server.page("/").await;

    for part in [
        "trusting:acme/website",
        "tencent",
        "2 URLs purged",
        "succeeded",
        "01234567",
        &format!("href=\"./runs/{}\"", run.id),
        "<title>Sites and runs – purgehook</title>",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}

#[tokio::test]
async fn the_dashboard_has_a_way_to_older_runs_and_back() {
    let server = Server::start().await;
    for n in 0..3 {
        server.run(&format!("branch-{n}")).await;
    }

    let newest = server.page("/?site=www&limit=2").await;
    let query = newest
        .split("href=\"./?site=www&#38;cursor=")
        .nth(1)
        .unwrap();
    let cursor = query.split('"').next().unwrap();
    let older = server.page(&format!("/?site=www&cursor={cursor}")).await;

    assert!(newest.contains("http-equiv=\"refresh\" content=\"2\""));
    assert!(older.contains("branch-0") && !older.contains("branch-1"));
    assert!(older.contains("href=\"./?site=www\">Newest"));
    assert!(!older.contains("http-equiv=\"refresh\""));
}

#[tokio::test]
async fn a_run_under_way_is_looked_at_again_until_it_ended() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let path = format!("/runs/{}", run.id);

    let pending = server.page(&path).await;
    server.end(&run, RunState::Failed, "a CDN refused").await;
    let failed = server.page(&path).await;

    assert!(pending.contains("http-equiv=\"refresh\" content=\"2\""));
    assert!(!failed.contains("http-equiv=\"refresh\""));
    assert!(failed.contains(&format!("purgehook retry {}", run.id)));
    assert!(failed.contains("<title>www at 01234567: failed – purgehook</title>"));
}

#[tokio::test]
async fn failed_purges_come_first_and_the_rest_is_cut_off_with_a_note() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let paths: Vec<String> = (1..=600).map(|n| format!("page-{n}.html")).collect();
    server
        .write(
            &run.id,
            &[
                plan(&run.id, paths.iter().map(String::as_str)),
                became(&run.id, 600, PurgeState::Failed, Some("InvalidParameter")),
                became(&run.id, 1, PurgeState::Done, None),
            ],
        )
        .await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    let place = |part: &str| page.find(part);
    assert!(place("page-600.html") < place("page-2.html"));
    assert!(place("page-1.html").is_none());
    assert!(page.contains("600 URLs"));
    assert!(page.contains("Shown are 500, failed ones first"));
    assert!(page.contains("1 confirmed, 1 failed, 598 queued of 600"));
    assert!(page.contains("InvalidParameter"));
}

#[tokio::test]
async fn a_page_that_is_not_there_says_so_and_finds_its_style_sheet() {
    let server = Server::start().await;

    for path in ["/nothing", "/runs/nothing", "/deep/down/here"] {
        let answer = server.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        let page = answer.text().await.unwrap();
        let link = page.split("stylesheet\" href=\"").nth(1).unwrap();
        let link = link.split('"').next().unwrap();

        let base = url::Url::parse(&format!("http://{}{path}", server.address)).unwrap();
        let style = server
            .http
            .get(base.join(link).unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(style.status(), 200, "{link} on {path}");
        assert_eq!(
            style.headers()["cache-control"],
            "public, max-age=31536000, immutable"
        );
    }
}

#[tokio::test]
async fn a_style_sheet_that_is_known_is_not_sent_again() {
    let server = Server::start().await;
    let first = server.get("/assets/style.css").send().await.unwrap();
    let tag = first.headers()["etag"].clone();

    let second = server
        .get("/assets/style.css")
        .header("if-none-match", tag)
        .send()
        .await
        .unwrap();

    assert_eq!(first.headers()["content-type"], "text/css; charset=utf-8");
    assert_eq!(second.status(), 304);
}

#[tokio::test]
async fn a_page_on_a_broken_store_says_so() {
    let server = Server::start_as(Setup {
        store_works: false,
        ..Setup::default()
    })
    .await;

    let answer = server.get("/").send().await.unwrap();

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
    assert!(!answer.text().await.unwrap().contains("/var/lib"));
}

/// A run that found files changed by three commits, of which the run's own is the last.
async fn run_of_three_commits(server: &Server) -> Run {
    let commit = |digit: &str| CommitId::parse(&digit.repeat(40)).unwrap();
    let own = CommitId::parse(COMMIT).unwrap();
    let link = |from: CommitId, to: CommitId, proof| Link {
        from,
        to,
        proof,
        files: 0,
    };
    let links = vec![
        link(commit("c"), own, Proof::Payload),
        link(commit("b"), commit("c"), Proof::Compare),
        link(commit("a"), commit("b"), Proof::Trees),
    ];
    let file = |name: &str, by| (FilePath::new(name), (ChangeKind::Modified, by));
    let changed = [
        file("1.html", 0),
        file("2.html", 1),
        file("3.html", 2),
        file("4.html", 2),
    ];
    let run = server.run_since("main", Some(commit("c"))).await;
    let known = Run {
        bases: ["a", "b", "c"].map(|d| Base::Commit(commit(d))).into(),
        proof: Some(Completeness::Proven(Proof::Trees)),
        ..run.clone()
    };
    let found = RunChanges::new(links, changed.into());
    let writes = [Write::Run(known), Write::Changes(run.id.clone(), found)];
    server.write(&run.id, &writes).await;
    run
}

#[tokio::test]
async fn a_run_says_which_files_its_push_brought_and_which_came_before() {
    let server = Server::start().await;
    let run = run_of_three_commits(&server).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    for part in [
        "1 file in this push, and 3 from 2 earlier commits that caches may still hold.",
        "1 file: the push&#39;s own lists name all that changed since cccccccc",
        "1 file: the forge&#39;s comparison with bbbbbbbb names all of them",
        "2 files: all in which its tree differs from that of aaaaaaaa",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    let place = |name: &str| page.find(name).unwrap();
    assert!(place("1.html") < place("2.html") && place("2.html") < place("4.html"));
}

#[tokio::test]
async fn a_commit_leads_to_its_page_at_the_forge() {
    let server = Server::start().await;
    let run = run_of_three_commits(&server).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    for address in [
        "https://git.example.com/acme/website".to_owned(),
        format!("https://git.example.com/acme/website/commit/{COMMIT}"),
        format!(
            "https://git.example.com/acme/website/commit/{}",
            "b".repeat(40)
        ),
        format!(
            "https://git.example.com/acme/website/compare/{}...{COMMIT}",
            "c".repeat(40)
        ),
    ] {
        assert!(page.contains(&format!("href=\"{address}\"")), "{address}");
    }
}

#[tokio::test]
async fn programs_read_which_commit_brought_what() {
    let server = Server::start().await;
    let run = run_of_three_commits(&server).await;

    let json = server.json(&format!("/api/v1/runs/{}", run.id)).await;

    let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(40));
    assert_eq!(
        json["changes"],
        serde_json::json!({
            "proof": "trees",
            "held": [a, b, c],
            "by_commit": [
                {"commit": COMMIT, "since": c, "proof": "payload", "total": 1},
                {"commit": c, "since": b, "proof": "compare", "total": 1},
                {"commit": b, "since": a, "proof": "trees", "total": 2},
            ],
            "total": 4,
            "paths": ["1.html", "2.html", "3.html", "4.html"],
        })
    );
}

#[tokio::test]
async fn a_text_that_a_newer_one_replaced_is_not_said_to_be_lost() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let text = |words: &str| Write::Status(run.id.clone(), StatusState::Pending, words.to_owned());
    let two_texts = "not sent: GitLab takes two texts until a run ends";
    let writes = [
        text("Purging"),
        text("Waiting"),
        Write::Posted(run.id.clone(), 2, Posting::Withheld(two_texts.to_owned())),
    ];
    server.write(&run.id, &writes).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    for (text, words) in [
        ("Finding out what changed", "replaced by a newer text"),
        ("Purging", two_texts),
        ("Waiting", "to be posted, wanted since"),
    ] {
        let list = page.split("<ol class=\"timeline\">").nth(1).unwrap();
        let mut rows = list.split("<li>");
        let row = rows.find(|row| row.contains(text)).unwrap();
        assert!(row.contains(words), "{words} is not in\n{row}");
        assert!(!row.contains("class=\"error\""), "{row}");
    }
    assert!(!page.contains("did not take the newest status"));
}

#[tokio::test]
async fn a_status_that_the_forge_refused_is_shown_with_what_to_do() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let refused = Posting::Refused("403: Resource not accessible".to_owned());
    server
        .write(&run.id, &[Write::Posted(run.id.clone(), 1, refused)])
        .await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    for part in [
        "trusting did not take the newest status",
        "403: Resource not accessible",
        "may not write statuses to acme/website",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}

/// A purge of a run that failed.
fn failed(run: &Run, seq: i64, why: &str, given_up: Option<GivenUp>) -> Write {
    let key = PurgeKey {
        run: run.id.clone(),
        seq,
    };
    Write::Update(PurgeUpdate {
        error: Some(why.to_owned()),
        given_up,
        ..PurgeUpdate::new(
            vec![key],
            PurgeState::Failed,
            crate::store::Precondition::Open,
        )
    })
}

#[tokio::test]
async fn what_several_purges_failed_for_is_said_once() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let mut writes = vec![plan(&run.id, ["a.html", "b.html", "c.html", "d.html"])];
    writes.extend([1, 2, 4].map(|seq| failed(&run, seq, "no such host", None)));
    writes.push(failed(&run, 3, "too hot", None));
    server.write(&run.id, &writes).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    assert_eq!(page.matches("no such host").count(), 1, "{page}");
    assert!(page.contains("3 targets: no such host"));
    assert_eq!(page.matches("too hot").count(), 1, "{page}");
    let place = |part: &str| page.find(part).unwrap();
    assert!(place("3 targets: no such host") < place("d.html"));
    assert!(place("d.html") < place("too hot"), "{page}");
}

#[tokio::test]
async fn a_purge_that_was_given_up_says_so_with_the_command() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let writes = [
        plan(&run.id, ["a.html?x=1&y=2", "b.html"]),
        failed(&run, 1, "no such host", Some(GivenUp::Refused)),
        failed(&run, 2, "not wanted", Some(GivenUp::Skipped)),
    ];
    server.write(&run.id, &writes).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    assert!(page.contains("1 refused, 1 skipped of 2"), "{page}");
    let command = format!(
        "purgehook skip {} &#39;https://www.example.com/a.html?x=1&#38;y=2&#39;",
        run.id
    );
    assert!(page.contains(&command), "{page}");
}

#[tokio::test]
async fn what_waits_for_a_quota_says_so_and_until_when() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let renewed_at = server.engine.now() + Duration::from_secs(3_600);
    let waiting = Run {
        waits_for: Some(WaitReason::Quota { renewed_at }),
        ..run.clone()
    };
    let writes = [
        Write::Run(waiting),
        plan(&run.id, ["a.html", "b.html", "c.html"]),
        became(&run.id, 1, PurgeState::Done, None),
        became(&run.id, 2, PurgeState::Running, None),
    ];
    server.write(&run.id, &writes).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    let until = renewed_at.strftime("%Y-%m-%d %H:%M UTC");
    let words = format!("1 confirmed, 1 sent, 1 waiting for quota until {until} of 3");
    assert!(page.contains(&words), "{words} is not in\n{page}");
}

#[tokio::test]
async fn what_a_silent_cdn_has_not_taken_waits_for_it() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let config = server.engine.config();
    let upstream = Upstream::Cdn(config.cdns["tencent"].account());
    let store = server.engine.store();
    let (now, pause) = (server.engine.now(), |_| Some(Duration::from_secs(60)));
    let opened = store.record_failure(&upstream, "connection refused", now, pause);
    opened.await.unwrap();
    let writes = [
        plan(&run.id, ["a.html", "b.html"]),
        became(&run.id, 1, PurgeState::Planned, Some("connection refused")),
    ];
    server.write(&run.id, &writes).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    assert!(page.contains("2 waiting for CDN of 2"), "{page}");
    assert!(page.contains("last try: connection refused"), "{page}");
    assert!(!page.contains("<div class=\"error\">connection refused"));
}

#[tokio::test]
async fn a_push_is_known_by_its_commits_message_and_author() {
    let server = Server::start().await;
    let commit = serde_json::json!({
        "id": COMMIT, "message": "Mend <the> prices\n\nThey were low.", "author": {"name": "Mona"},
    });
    let body = serde_json::json!({"head_commit": commit}).to_string();
    let run = server.run_of("main", &body).await;

    let page = server.page(&format!("/runs/{}", run.id)).await;

    assert!(
        page.contains("<h1>Mend &#60;the&#62; prices</h1>"),
        "{page}"
    );
    assert!(page.contains("on main by Mona"), "{page}");
    assert!(!page.contains("They were low"));
}

#[tokio::test]
async fn a_push_that_says_no_message_is_known_by_its_commit() {
    let server = Server::start().await;
    let long = format!("{{\"x\": \"{}\"}}", "x".repeat(2 * 1024 * 1024));
    for body in ["{}", "no JSON", &long] {
        let run = server.run_of("main", body).await;

        let page = server.page(&format!("/runs/{}", run.id)).await;

        let title = "<h1>www <span class=\"muted\">at</span> <code>01234567</code></h1>";
        assert!(page.contains(title), "{page}");
    }
}
