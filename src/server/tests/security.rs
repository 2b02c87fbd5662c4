//! Tests what a browser may do, how pages show hostile text, and who may act.

use reqwest::header::HeaderMap;

use super::*;

/// Every address that is served, with a method that it takes; `{id}` is a run's.
const ROUTES: [(&str, &str); 11] = [
    ("POST", "/hooks/trusting"),
    ("GET", "/"),
    ("GET", "/runs/{id}"),
    ("GET", "/api/v1/runs"),
    ("GET", "/api/v1/runs/{id}"),
    ("POST", "/api/v1/runs/{id}/retry"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/assets/style.css"),
    ("GET", "/assets/icon.svg"),
];
/// The routes that do something. There is nothing else that a request could change, but for deliveries.
const ACTIONS: [&str; 1] = ["/api/v1/runs/{id}/retry"];
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

#[test]
fn every_route_is_among_those_that_are_tested() {
    let source = include_str!("../mod.rs");
    let (_, routes) = source.split_once("\nfn routes(").unwrap();
    let (routes, _) = routes.split_once("\n}").unwrap();

    assert_eq!(routes.matches(".service(").count(), ROUTES.len());
    let acting = routes.matches("web::post()").count();
    assert_eq!(
        acting,
        ACTIONS.len(),
        "an action more is to be tested as well"
    );
}

/// Asserts that the headers let a browser do nothing but show the page.
fn assert_safe(headers: &HeaderMap, of: &str) {
    let value = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().unwrap_or_else(|| panic!("{of} lacks {name}"));
        assert!(values.next().is_none(), "{of} has two of {name}");
        value.to_str().unwrap().to_owned()
    };
    let policy = value("content-security-policy");
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    for needed in [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(directives.contains(&needed), "{of}: {policy}");
    }
    // Whatever else it says, it lets in nothing inline and nobody else.
    for word in [
        "unsafe",
        "*",
        "data:",
        "blob:",
        "http",
        "script-src",
        "nonce",
        "sha256",
    ] {
        assert!(!policy.contains(word), "{of}: {policy}");
    }
    assert_eq!(value("x-content-type-options"), "nosniff", "{of}");
    assert_eq!(value("referrer-policy"), "no-referrer", "{of}");
    assert_eq!(value("x-frame-options"), "DENY", "{of}");
    // No other origin may read an answer, with cookies or without.
    for name in headers.keys() {
        assert!(
            !name.as_str().starts_with("access-control-"),
            "{of}: {name}"
        );
        assert_ne!(name, "set-cookie", "{of}");
    }
}

/// Asserts that a page holds nothing that a browser would run or fetch from elsewhere.
fn assert_inert(html: &str, of: &str) {
    assert!(html.starts_with("<!DOCTYPE html>"), "{of}: {html}");
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        for forbidden in [
            "script", "style", "iframe", "object", "embed", "base", "form",
        ] {
            assert_ne!(name.to_ascii_lowercase(), forbidden, "{of}: <{tag}>");
        }
        // Outside of values: every value is between double quotes.
        for outside in tag.split('"').step_by(2) {
            for word in outside.split_whitespace().map(str::to_ascii_lowercase) {
                assert!(!word.starts_with("on"), "{of}: <{tag}>");
                assert!(!word.starts_with("style"), "{of}: <{tag}>");
                assert!(!word.contains('\''), "{of}: <{tag}>");
            }
        }
        for link in ["href=\"", "src=\"", "action=\""] {
            for target in tag.split(link).skip(1) {
                // The forge's pages are where the rules file says that the forge is, and only links lead there.
                let is_forges = name == "a" && target.starts_with("https://git.example.com/");
                let own = ["./", "../", "#"]
                    .iter()
                    .any(|start| target.starts_with(start));
                assert!(own || is_forges, "{of}: <{tag}>");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_to_every_method_keeps_a_browser_from_everything_but_showing_it() {
    let server = Server::start().await;
    let broken = Server::start_as(Setup {
        store_works: false,
        ..Setup::default()
    })
    .await;
    let run = server.run("main").await;
    let missing = [
        "/nothing",
        "/runs/none",
        "/runs/",
        "/api/v1/nothing",
        "/hooks/none",
        "/%00",
    ];
    let paths = ROUTES.iter().map(|(_, path)| *path).chain(missing);

    let mut pages = 0;
    for path in paths {
        let path = path.replace("{id}", &run.id.0);
        for method in METHODS {
            for (store, server) in [("a good store", &server), ("a bad one", &broken)] {
                let of = format!("{method} {path} on {store}");
                let answer = server.request(method.clone(), &path).send().await.unwrap();
                assert_safe(answer.headers(), &of);
                let is_page = answer
                    .headers()
                    .get("content-type")
                    .is_some_and(|value| value.to_str().unwrap().starts_with("text/html"));
                let text = answer.text().await.unwrap();
                if is_page && method != Method::HEAD {
                    assert_inert(&text, &of);
                    pages += 1;
                }
            }
        }
    }
    assert!(pages >= 10, "{pages} pages");
}

#[tokio::test]
async fn hostile_words_stay_words_wherever_they_stand() {
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "\" autofocus onfocus=\"alert(1)",
        "</title></code></main><svg onload=alert(1)>",
        "javascript:alert(1)",
        "&lt;script&gt;&#60;&quot;",
        "{{ 7 * 7 }}{% include \"x\" %}",
        "a\u{202e}gpj.exe\u{2066}b\u{200f}",
        "a\u{1b}[2J\u{0}\u{9b}31m\u{7f}\u{2028}b",
        "<!--",
        "]]>",
        "<a href=//evil.example>",
    ];
    for words in hostile {
        let server = Server::start().await;
        let run = server.run(words).await;
        let known = Run {
            summary: words.to_owned(),
            commit: CommitRef::Unresolved(words.to_owned()),
            proof: Some(Completeness::Proven(Proof::Payload)),
            problems: vec![words.to_owned()],
            notes: vec![words.to_owned()],
            ..run.clone()
        };
        let purge = PlannedPurge {
            rule: words.to_owned(),
            cdn: words.to_owned(),
            target: words.to_owned(),
            ..planned(words)
        };
        let writes = [
            Write::Run(known),
            changes(&run.id, [words]),
            Write::Purges(
                run.id.clone(),
                vec![NewPurge {
                    account: Some(AccountId::new(words)),
                    ..new_purge(purge)
                }],
            ),
            became(&run.id, 1, PurgeState::Failed, Some(words)),
            Write::Posted(run.id.clone(), 1, Posting::Refused(words.to_owned())),
        ];
        server.write(&run.id, &writes).await;

        let query: String = url::form_urlencoded::byte_serialize(words.as_bytes()).collect();
        for path in [
            "/".to_owned(),
            format!("/runs/{}", run.id),
            format!("/?site={query}"),
            format!("/?state={query}"),
            format!("/?commit={query}&cursor={query}&limit={query}"),
            format!("/runs/{query}"),
            format!("/{query}"),
        ] {
            let answer = server.get(&path).send().await.unwrap();
            assert_safe(answer.headers(), &path);
            let html = answer.text().await.unwrap();

            assert_inert(&html, &format!("{path} with {words:?}"));
            let steers = |c: char| c != '\n' && crate::sanitize::is_steering(c);
            assert!(!html.contains(steers), "{path} with {words:?}: {html:?}");
        }
        // JSON holds the words as they are, and is never taken for a page.
        let answer = server.get("/api/v1/runs").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json");
        let answer = server.get("/metrics").send().await.unwrap();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(!kind.contains("html"), "{kind}");
    }
}

#[tokio::test]
async fn no_action_is_done_for_anything_but_the_token_in_its_header() {
    let server = Server::start().await;
    let run = server.run("main").await;
    server.end(&run, RunState::Failed, "a CDN refused").await;
    let token = url::form_urlencoded::byte_serialize(ADMIN_TOKEN.as_bytes()).collect::<String>();
    let is_failed = || async {
        let known = server.engine.store().run(&run.id).await.unwrap();
        known.unwrap().state == RunState::Failed
    };

    for action in ACTIONS {
        let path = action.replace("{id}", &run.id.0);
        let form = format!(
            "token={token}&admin_token={token}&access_token={token}&authorization=Bearer+{token}"
        );
        let authorizations = [
            None,
            Some("Bearer".to_owned()),
            Some("Bearer wrong".to_owned()),
            Some(format!("Bearer {ADMIN_TOKEN}x")),
            Some(format!("Bearer {}", &ADMIN_TOKEN[1..])),
            Some(format!("Bearer {}", ADMIN_TOKEN.to_uppercase())),
            Some(format!("Basic {ADMIN_TOKEN}")),
            Some(ADMIN_TOKEN.to_owned()),
        ];
        // As pages of other origins can send them, without being asked first.
        for kind in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "application/json",
        ] {
            for authorization in &authorizations {
                for path in [path.clone(), format!("{path}?{form}")] {
                    let mut request = server
                        .request(Method::POST, &path)
                        .header("content-type", kind)
                        .header("origin", "https://evil.example")
                        .header("sec-fetch-site", "cross-site")
                        .header(
                            "cookie",
                            format!("token={token}; admin_token={token}; session={token}"),
                        )
                        .header("x-admin-token", ADMIN_TOKEN)
                        .header("x-authorization", format!("Bearer {ADMIN_TOKEN}"))
                        .header("proxy-authorization", format!("Bearer {ADMIN_TOKEN}"))
                        .header("x-http-method-override", "POST")
                        .body(form.clone());
                    if let Some(authorization) = authorization {
                        request = request.header("authorization", authorization);
                    }
                    let answer = request.send().await.unwrap();

                    // Who goes on guessing is not even looked at.
                    let status = answer.status().as_u16();
                    assert!([401, 429].contains(&status), "{authorization:?} {path}");
                    assert_safe(answer.headers(), &path);
                    assert!(is_failed().await, "{authorization:?} {path}");
                }
            }
        }
        // A browser that asks first is told nothing that would let it go on.
        let asked = server
            .request(Method::OPTIONS, &path)
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
            .send()
            .await
            .unwrap();
        assert_eq!(asked.status(), 405);
        assert_safe(asked.headers(), &path);
    }
}

#[tokio::test]
async fn what_is_read_changes_nothing_even_with_the_token() {
    let server = Server::start().await;
    let run = server.run("main").await;
    server.end(&run, RunState::Failed, "a CDN refused").await;
    let good = format!("Bearer {ADMIN_TOKEN}");

    for (_, path) in ROUTES {
        for method in METHODS.into_iter().filter(|method| *method != Method::POST) {
            let path = path.replace("{id}", &run.id.0);
            let request = server.request(method.clone(), &path);
            let asked = request
                .header("authorization", &good)
                .header("x-http-method-override", "POST")
                .header("x-signature", "good")
                .header("content-type", "application/json")
                .body("main 1");
            asked.send().await.unwrap();

            let known = server.engine.store().run(&run.id).await.unwrap();
            assert_eq!(known.unwrap().state, RunState::Failed, "{method} {path}");
        }
    }
    let runs = server.json("/api/v1/runs").await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    // The same with the method that acts: the test would see it.
    let path = format!("/api/v1/runs/{}/retry", run.id);
    let acted = server
        .request(Method::POST, &path)
        .header("authorization", &good);
    assert_eq!(acted.send().await.unwrap().status(), 202);
}
