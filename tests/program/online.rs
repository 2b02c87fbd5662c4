//! `purgehook check --online`: what is wrong with tokens, webhooks, keys and clocks, said before the first push.

use purgehook::sandbox::{
    Area, CdnAccount, Change, Fault, Forge, HookSetup, Service, TokenRights, When,
};
use serde_json::Value;

use crate::world::World;

const GITHUB_HOOK: &str = "https://purge.example.com/hooks/github";
const GITLAB_HOOK: &str = "https://purge.example.com/hooks/gitlab";

/// A world in which all is set up, and nothing was pushed since.
async fn set_up() -> World {
    let world = World::new().await;
    world.website();
    world.docs();
    let blog = world.sandbox.github().create_repo("acme/blog", "main");
    blog.commit("main", &[Change::write("posts/a.md", "first")]);
    blog.push("main");
    let hook = |url: &str| HookSetup {
        last: Some(202),
        ..HookSetup::to(url)
    };
    world.sandbox.github().set_webhook(hook(GITHUB_HOOK));
    world.sandbox.gitlab().set_webhook(hook(GITLAB_HOOK));
    world
}

/// The exit code, and the findings that are not ok: "wrong github acme/website: ... | help".
fn checked(world: &World) -> (Option<i32>, Vec<String>) {
    let output = world.run(&["check", "--online", "--json"], "");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["ok"], output.status.success(), "{said:#}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = said["online"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["verdict"] != "ok");
    let findings = findings.map(|finding| {
        format!(
            "{} {}: {} | {}",
            text(&finding["verdict"]),
            text(&finding["subject"]),
            text(&finding["message"]),
            text(&finding["advice"])
        )
    });
    (output.status.code(), findings.collect())
}

/// Asserts that a finding is there, by its beginning and a part of it.
#[track_caller]
fn assert_found(findings: &[String], start: &str, part: &str) {
    let is_it = |finding: &&String| finding.starts_with(start) && finding.contains(part);
    let found = findings.iter().find(is_it);
    assert!(found.is_some(), "{start} ... {part}: {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_each_line_says_so_and_nothing_is_changed() {
    let world = set_up().await;

    let output = world.run(&["check", "--online"], "");

    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in [
        "ok    github acme/website: the repository can be read",
        "ok    github acme/website: statuses may be posted on its commits",
        "ok    github acme/website: the branch main is at ",
        "ok    github acme/website: a webhook calls https://purge.example.com/hooks/github; \
         its last delivery was answered 202",
        "ok    github acme/blog: statuses may be posted",
        "ok    gitlab acme/handbook/docs: statuses may be posted",
        "ok    gitlab acme/handbook/docs: a webhook calls https://purge.example.com/hooks/gitlab",
        "ok    gitlab acme/handbook/docs: its clock and this machine's agree",
        "ok    tencent: the key is taken",
        "ok    tencent: left today: 10000 of 10000 URLs, 100 of 100 directories, 1000 of 1000 prefetches",
        "ok    tencent: its clock and this machine's agree",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(said.ends_with(" ok, 0 notes, 0 wrong\n"), "{said}");
    for call in world.sandbox.log() {
        let asks = call.action.starts_with("GET ") || call.action.starts_with("Describe");
        assert!(asks, "{call:?}");
    }
    assert!(world.sandbox.tencent_cdn().purged().is_empty());
    // Without being told to, it asks nobody.
    let asked = world.sandbox.log().len();
    assert_eq!(world.run(&["check"], "").status.code(), Some(0));
    assert_eq!(world.sandbox.log().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_said_once_a_repository_and_others_are_asked_all_the_same() {
    let world = set_up().await;
    world
        .sandbox
        .github()
        .set_token_rights(TokenRights::Expired);

    let (code, findings) = checked(&world);

    assert_eq!(code, Some(1));
    assert_eq!(findings.len(), 2, "{findings:#?}");
    for repo in ["acme/blog", "acme/website"] {
        assert_found(
            &findings,
            &format!("wrong github {repo}: GitHub answered 401 Unauthorized"),
            "Bad credentials; check that the forge's token is right and has not expired",
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_post_statuses_is_told_what_it_lacks() {
    let world = set_up().await;
    world.sandbox.github().set_token_rights(TokenRights::Read);
    world.sandbox.gitlab().set_token_rights(TokenRights::Read);

    let (code, findings) = checked(&world);

    assert_eq!(code, Some(1));
    assert_found(
        &findings,
        "wrong github acme/website: the token has the scopes admin:repo_hook, read:org",
        "give it the scope `repo`",
    );
    assert_found(
        &findings,
        "wrong gitlab acme/handbook/docs: the token has the scopes read_api",
        "make a token with the scope `api`",
    );
    assert_eq!(findings.len(), 3, "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_missing_elsewhere_or_refused_is_said() {
    let world = World::new().await;
    world.website();
    world.docs();
    let github = world.sandbox.github();
    github.create_repo("acme/blog", "main");
    world.sandbox.gitlab().set_webhook(HookSetup {
        events: vec!["tag_push"],
        ..HookSetup::to(GITLAB_HOOK)
    });

    let (code, findings) = checked(&world);

    assert_eq!(code, Some(1));
    assert_found(
        &findings,
        "wrong github acme/website: no webhook calls https://purge.example.com/hooks/github |",
        "add a webhook with that address",
    );
    assert_found(
        &findings,
        "wrong gitlab acme/handbook/docs: the webhook",
        "does not tell of pushes",
    );
    assert_found(
        &findings,
        "wrong github acme/blog: the branch main is not there",
        "check `branches:`",
    );

    github.set_webhook(HookSetup::to("https://old.example.com/hooks/github"));
    let (_, findings) = checked(&world);
    assert_found(
        &findings,
        "wrong github acme/website: no webhook calls https://purge.example.com/hooks/github",
        "; one calls https://old.example.com/hooks/github",
    );

    github.set_webhook(HookSetup {
        last: Some(401),
        ..HookSetup::to(GITHUB_HOOK)
    });
    let (_, findings) = checked(&world);
    assert_found(
        &findings,
        "wrong github acme/website: a webhook calls",
        "its last delivery was answered 401 | give both sides the same secret",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_clock_that_is_ten_minutes_off_are_said() {
    let mut world = set_up().await;
    world.sandbox.tencent_cdn().set_clock_ahead(600);

    let (code, findings) = checked(&world);

    assert_eq!(code, Some(1));
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_found(
        &findings,
        "wrong tencent: this machine's clock is 10 min behind its clock",
        "may be off by 5 min | have the clock set by NTP",
    );

    world.sandbox.tencent_cdn().set_clock_ahead(0);
    let secret = "a-key-of-somebody-else";
    world.set_variable("TENCENT_KEY", secret);
    let (code, findings) = checked(&world);
    assert_eq!(code, Some(1));
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_found(
        &findings,
        "wrong tencent: Tencent CDN refused DescribePurgeTasks: AuthFailure.SignatureFailure",
        "check the key of `cdns.tencent`",
    );
    assert!(!findings[0].contains(secret), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_the_key_may_not_ask_for_is_a_note() {
    let world = set_up().await;
    let code = Fault::Code("UnauthorizedOperation.CdnCamUnauthorized".to_owned());
    let faults = world.sandbox.faults();
    faults.add(
        Service::TENCENT_CDN,
        "DescribePurgeQuota",
        When::Always,
        code,
    );

    let (code, findings) = checked(&world);

    assert_eq!(code, Some(0), "{findings:#?}");
    assert_found(
        &findings,
        "note tencent: today's quota cannot be asked for",
        "UnauthorizedOperation",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_does_not_answer_is_said_and_takes_no_longer_than_its_limit() {
    let mut world = set_up().await;
    // Nobody listens there.
    world.set_variable("GITHUB_URL", "http://127.0.0.1:9");

    let started = std::time::Instant::now();
    let (code, findings) = checked(&world);

    assert_eq!(code, Some(1));
    assert_found(
        &findings,
        "wrong github acme/website: GitHub did not answer when asked to show acme/website",
        "check `api_url:`",
    );
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(started.elapsed().as_secs() < 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_secrets_that_are_not_set_nobody_is_asked() {
    let world = World::new().await;
    let rules = std::fs::read_to_string(world.rules_path()).unwrap();
    let rules = rules.replace("${GITHUB_TOKEN}", "${NOBODY_SETS_THIS}");
    std::fs::write(world.rules_path(), rules).unwrap();

    let output = world.run(&["check", "--online", "--json"], "");

    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said:#}");
    assert_eq!(said["unset"], serde_json::json!(["NOBODY_SETS_THIS"]));
    assert!(said.get("online").is_none(), "{said:#}");
    assert!(world.sandbox.log().is_empty());
}

/// A world with one site at each of the other kinds of forges and CDNs.
async fn of_other_kinds() -> World {
    let world = World::new().await;
    let sandbox = &world.sandbox;
    let forge = |name: &str, forge: Forge| {
        let repo = forge.create_repo("acme/website", "main");
        repo.commit("main", &[Change::write("a.md", "first")]);
        repo.push("main");
        forge.set_webhook(HookSetup::to(&format!(
            "https://purge.example.com/hooks/{name}"
        )));
        format!(
            "  {name}: {{kind: {name}, secrets: [\"{}\"], token: {}, api_url: {}}}\n",
            forge.webhook_secret(),
            forge.token(),
            forge.url()
        )
    };
    let cdn = |name: &str, cdn: CdnAccount| {
        cdn.add_domain("www.example.com", Area::Mainland);
        let entry = cdn.rules_entry().replace('\n', "\n    ");
        format!("  {name}:\n    kind: {name}\n    {}\n", entry.trim_end())
    };
    let forges = [
        forge("gitea", sandbox.gitea()),
        forge("gitee", sandbox.gitee()),
    ];
    let cdns = [
        cdn("tencent-ecdn", sandbox.tencent_ecdn()),
        cdn("qcloud", sandbox.qcloud()),
        cdn("huawei-cdn", sandbox.huawei_cdn()),
    ];
    let site = |name: &str| {
        format!(
            "  {name}:\n    repo: {name}:acme/website\n    base_urls: [https://www.example.com]\n    \
             cdns: [tencent-ecdn, qcloud, huawei-cdn]\n    rules: [{{match: \"**\", urls: \"/{{path}}\"}}]\n"
        )
    };
    let rules = format!(
        "server: {{public_url: \"https://purge.example.com\"}}\nforges:\n{}cdns:\n{}sites:\n{}{}",
        forges.concat(),
        cdns.concat(),
        site("gitea"),
        site("gitee")
    );
    std::fs::write(world.rules_path(), rules).unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_kind_is_asked_in_its_own_words() {
    let world = of_other_kinds().await;

    let (code, findings) = checked(&world);

    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_found(
        &findings,
        "note gitea acme/website: whether the token has the scope `write:repository`",
        "Gitea does not say",
    );
    let said = String::from_utf8(world.run(&["check", "--online"], "").stdout).unwrap();
    for line in [
        "ok    gitee acme/website: statuses may be posted",
        "ok    gitee acme/website: a webhook calls https://purge.example.com/hooks/gitee; nothing was sent",
        "ok    gitee acme/website: its clock and this machine's agree",
        "ok    gitea acme/website: a webhook calls https://purge.example.com/hooks/gitea",
        "ok    tencent-ecdn: left today: 10000 of 10000 URLs, 100 of 100 directories",
        "ok    huawei-cdn: left today: 2000 of 2000 URLs",
        "ok    qcloud: the key is taken",
        "ok    qcloud: its clock and this machine's agree",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }

    world.sandbox.gitea().set_token_rights(TokenRights::Read);
    world.sandbox.gitee().set_token_rights(TokenRights::Read);
    world.sandbox.huawei_cdn().set_clock_ahead(20 * 60);
    let (code, findings) = checked(&world);
    assert_eq!(code, Some(1));
    assert_found(
        &findings,
        "wrong gitea acme/website: the token's owner may not write",
        "collaborator",
    );
    assert_found(
        &findings,
        "wrong gitee acme/website: the token's user is no administrator",
        "administrator",
    );
    assert_found(
        &findings,
        "wrong huawei-cdn: this machine's clock is 20 min behind",
        "15 min",
    );
}
