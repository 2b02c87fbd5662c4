//! Tests what rules.yaml may contain, and the messages for invalid files.

use std::path::Path;
use std::time::Duration;

use super::{Config, Loaded, Trigger, WhenUnknown, load, read};
use crate::clock::Clock;
use crate::http::Outbound;
use crate::plan::Cover;
use crate::purge::Mode;
use crate::settings::{Environment, Problems, Severity};

mod kinds;

use kinds::KINDS;

const VARIABLES: [(&str, &str); 9] = [
    ("GITHUB_WEBHOOK_SECRET", "canary-webhook"),
    ("GITHUB_TOKEN", "canary-token"),
    ("GITLAB_SIGNING_TOKEN", "whsec_canary"),
    ("GITLAB_WEBHOOK_TOKEN", "canary-gitlab"),
    ("GITLAB_TOKEN", "canary-gitlab-token"),
    ("TENCENTCLOUD_SECRET_ID", "canary-id"),
    ("TENCENTCLOUD_SECRET_KEY", "canary-key"),
    ("HUAWEICLOUD_SDK_AK", "canary-ak"),
    ("HUAWEICLOUD_SDK_SK", "canary-sk"),
];

fn reading(text: &str) -> Result<Loaded, Problems> {
    let outbound = Outbound::new(Clock::system()).unwrap();
    read(
        "rules.yaml",
        text,
        Environment::of(VARIABLES),
        &outbound,
        KINDS,
    )
}

pub(super) fn config(text: &str) -> Config {
    match reading(text) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

/// Everything that is said about a text, as `line:column message`.
pub(super) fn said(text: &str) -> Vec<String> {
    let problems = match reading(text) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems
        .list
        .iter()
        .map(|p| {
            let place = match (p.line, p.column) {
                (Some(line), Some(column)) => format!("{line}:{column} "),
                _ => String::new(),
            };
            let word = match p.severity {
                Severity::Error => "",
                Severity::Warning => "warning: ",
            };
            format!("{place}{word}{}", p.message)
        })
        .collect()
}

/// A file with one site that has these lines, and needs nothing else than `repo`, `cdns`, `base_urls` and `rules`.
pub(super) fn with_site(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "server: {{public_url: https://purge.example.com}}\n\
         forges: {{github: {{kind: github, secrets: [a-secret-of-the-tests]}}}}\n\
         cdns: {{tencent: {{kind: tencent-cdn}}}}\n\
         sites:\n  www:\n{indented}"
    )
}

pub(super) const MINIMAL: &str = "repo: github:acme/website\nbase_urls: https://www.example.com\ncdns: tencent\n\
                       rules: [{match: \"**\", urls: \"/{path}\"}]\n";

/// The example of the documentation, with everything in it.
const EVERYTHING: &str = r#"
server:
  listen: 127.0.0.1:8080
  public_url: https://purge.example.com
  database: sqlite://purgehook.db
  admin_token: ${PURGEHOOK_ADMIN_TOKEN:-}
forges:
  github:
    kind: github
    secrets: ["${GITHUB_WEBHOOK_SECRET}"]
    token: ${GITHUB_TOKEN}
    api_url: https://api.github.com
  gitlab:
    kind: gitlab
    signing_tokens: ["${GITLAB_SIGNING_TOKEN}"]
    secrets: ["${GITLAB_WEBHOOK_TOKEN}"]
    token: ${GITLAB_TOKEN}
    api_url: https://gitlab.com/api/v4
cdns:
  tencent:
    kind: tencent-cdn
    secret_id: ${TENCENTCLOUD_SECRET_ID}
    secret_key: ${TENCENTCLOUD_SECRET_KEY}
    endpoint: https://cdn.tencentcloudapi.com
    area: mainland
    limits: {urls_per_day: 10000}
  huawei:
    kind: huawei-cdn
    access_key: ${HUAWEICLOUD_SDK_AK}
    secret_key: ${HUAWEICLOUD_SDK_SK}
    endpoint: https://cdn.myhuaweicloud.com
sites:
  www:
    repo: github:acme/website
    branches: [main]
    trigger: push
    base_urls: [https://www.example.com]
    cdns: [tencent, huawei]
    status: {context: cdn/purge}
    when_unknown: everything
    settle: 5m
    cover: cheapest
    ignore: ["**/README.md", ".github/**"]
    rules:
      - name: pages
        match: ["content/**/*.md"]
        except: ["content/drafts/**"]
        strip: content/
        urls: ["/{page}"]
      - name: files
        match: ["static/**"]
        strip: static/
        urls: ["/{path}"]
        prefetch: ["/{path}"]
        last: true
      - name: theme
        match: ["layouts/**", "config.toml"]
        directories: ["/"]
        mode: delete
  docs:
    repo: gitlab:group/sub/docs
    trigger: {pipeline: success}
    base_urls: [https://docs.example.com]
    cdns: huawei
    when_unknown: fail
    rules:
      - {match: "**", directories: "/"}
"#;

#[test]
fn everything_that_is_documented_is_read() {
    let Loaded { config, warnings } = reading(EVERYTHING).unwrap_or_else(|p| panic!("{p}"));

    assert_eq!(warnings.to_string(), "");
    assert_eq!(config.server.listen, "127.0.0.1:8080");
    assert_eq!(config.server.database, "sqlite://purgehook.db");
    assert!(config.server.admin_token.is_none());
    assert_eq!(
        config.forges.keys().collect::<Vec<_>>(),
        ["github", "gitlab"]
    );
    assert_eq!(
        config.cdns.keys().collect::<Vec<_>>(),
        ["huawei", "tencent"]
    );

    let www = &config.sites["www"];
    assert_eq!((www.name.as_str(), www.forge.as_str()), ("www", "github"));
    assert_eq!(www.repo.as_str(), "acme/website");
    assert_eq!(www.trigger, Trigger::Push);
    assert_eq!(www.cdns, ["tencent", "huawei"]);
    assert_eq!(www.status_context, "cdn/purge");
    assert_eq!(www.when_unknown, WhenUnknown::Everything);
    assert_eq!(www.cover, Cover::Cheapest);
    assert_eq!(www.settle, Duration::from_secs(300));
    assert_eq!(www.rules.ignore().len(), 2);
    let [pages, files, theme] = www.rules.rules() else {
        panic!("there are three rules");
    };
    assert_eq!(
        (pages.name.as_str(), pages.strip.as_str()),
        ("pages", "content/")
    );
    assert_eq!((pages.matches.len(), pages.except.len()), (1, 1));
    assert_eq!(
        (files.prefetch.len(), files.last, pages.last),
        (1, true, false)
    );
    assert_eq!(theme.mode, Some(Mode::Delete));

    let docs = &config.sites["docs"];
    assert_eq!(docs.repo.as_str(), "group/sub/docs");
    assert_eq!(docs.trigger, Trigger::Pipeline("success".to_owned()));
    assert_eq!(docs.when_unknown, WhenUnknown::Fail);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = config(&with_site(MINIMAL));

    let site = &config.sites["www"];
    assert_eq!(config.server.listen, "127.0.0.1:8080");
    assert_eq!(config.server.database, "sqlite://purgehook.db");
    assert_eq!(site.branches.len(), 1);
    assert_eq!(site.branches[0].text(), "main");
    assert_eq!(site.trigger, Trigger::Push);
    assert_eq!(site.status_context, "purgehook/www");
    assert_eq!(site.cover, Cover::Exact);
    assert_eq!(site.settle, Duration::from_secs(600));
    assert_eq!(site.rules.rules()[0].name, "rule 1");
}

#[test]
fn every_trigger_is_read() {
    for (text, trigger) in [
        ("push", Trigger::Push),
        ("release", Trigger::Release),
        ("page_build", Trigger::PageBuild),
        (
            "{deployment: production}",
            Trigger::Deployment("production".to_owned()),
        ),
        (
            "{workflow: deploy.yml}",
            Trigger::Workflow("deploy.yml".to_owned()),
        ),
        (
            "{pipeline: success}",
            Trigger::Pipeline("success".to_owned()),
        ),
    ] {
        let config = config(&with_site(&format!("{MINIMAL}trigger: {text}\n")));

        assert_eq!(config.sites["www"].trigger, trigger);
    }
}

#[test]
fn a_trigger_names_exactly_one_thing() {
    for (trigger, expected) in [
        ("{}", "10:5 `trigger` must name one thing"),
        (
            "{deployment: a, workflow: b}",
            "10:5 `trigger` must name one thing",
        ),
        ("{pipeline: done}", "10:25 `pipeline` cannot be `done`"),
        ("psuh", "10:14 `trigger` cannot be `psuh`"),
        (
            "{deploy: a}",
            "10:15 `deploy` is no key of `sites.www.trigger`",
        ),
    ] {
        let said = said(&with_site(&format!("{MINIMAL}trigger: {trigger}\n")));

        assert!(said.iter().any(|line| line == expected), "{said:?}");
    }
}

#[test]
fn a_trigger_that_the_forge_never_sends_is_a_problem() {
    let silent = with_site(&format!("{MINIMAL}trigger: {{pipeline: success}}\n"))
        .replace("kind: github", "kind: silent");

    let said = said(&silent);

    assert!(
        said.iter()
            .any(|line| line.contains("sends nothing that could trigger `pipeline`")),
        "{said:?}"
    );
    config(&silent.replace("{pipeline: success}", "release"));
}

#[test]
fn forges_and_cdns_that_no_site_uses_are_warned_about() {
    let text = with_site(MINIMAL)
        .replace(
            "forges: {",
            "forges: {spare: {kind: gitlab, secrets: [x]}, ",
        )
        .replace("cdns: {", "cdns: {extra: {kind: huawei-cdn}, ");

    assert_eq!(
        said(&text),
        [
            "2:10 warning: no site uses the forge `spare`",
            "3:8 warning: no site uses the CDN `extra`",
        ]
    );
}

#[test]
fn all_problems_of_a_file_are_said_at_once() {
    let text = r#"
server:
  listen: 8080
  database: mysql://me:hunter2@db/x
  admin_token: short
forges:
  GitHub: {kind: github, secrets: [x]}
  hub: {kind: githib, secrets: [x]}
  lab: {secrets: [x]}
  none: {kind: gitlab, secrets: [""]}
cdns:
  tencent: {kind: tencent-cdn}
  spare: {kind: huawei-cdn}
sites:
  www:
    repo: hbu:acme/website
    branches: [refs/heads/main]
    base_urls: [ftp://example.com]
    cdns: [tencnet, tencent, tencent]
    when_unknown: nothing
    settle: soon
    rules:
      - name: a
        match: ["[a"]
        urls: ["/{path}"]
      - name: a
        match: ["x"]
  docs:
    repo: acme/website
    base_urls: [https://docs.example.com]
    cdns: []
    rules:
      - {match: [], urls: ["/{pth}"], mode: delete}
      - {urls: ["https://other.example.com/{path}"]}
"#;

    assert_eq!(
        said(text),
        [
            "2:1 warning: `server.public_url` is not set, so statuses will carry no link",
            "3:11 `listen` is no address with a port",
            "4:13 `database` names no store",
            "5:3 the admin token is shorter than 16 characters, and could be guessed",
            "7:3 `GitHub` cannot name a forge",
            "8:15 `kind` cannot be `githib`",
            "9:3 `kind` is missing from `forges.lab`",
            "10:3 no webhook secret is set",
            "10:34 an item of `secrets` is empty",
            "16:11 there is no forge named `hbu`",
            "17:16 branches are named without `refs/heads/`",
            "18:17 the base URL `ftp://example.com` does not start with https:// or http://",
            "19:12 there is no CDN named `tencnet`",
            "19:30 the CDN `tencent` is named twice",
            "20:19 `when_unknown` cannot be `nothing`",
            "21:13 `settle` must be a time span, not `soon`",
            "24:17 the glob `[a` has a `[` at character 1 that no `]` closes",
            "26:9 the rule `a` asks for nothing",
            "26:15 the name `a` is taken by rule 1",
            "28:3 `cdns` is missing from `sites.docs`",
            "29:11 `repo` names no forge",
            "33:10 `match` is missing from `sites.docs.rules[1]`",
            "33:28 the template `/{pth}` has the unknown field `{pth}` at character 2",
            "33:45 warning: `mode` says how directories are purged, and this rule purges none",
            "34:10 `match` is missing from `sites.docs.rules[2]`",
            "34:17 the template `https://other.example.com/{path}` is on https://other.example.com, which is none of the site's base URLs",
        ]
    );
}

#[test]
fn what_ended_is_kept_for_a_time_that_covers_what_forges_send_again() {
    let retention = |server: &str| {
        let text = with_site(MINIMAL).replacen("server: {", &format!("server: {{{server}"), 1);
        reading(&text).map(|loaded| loaded.config.server.retention.as_secs() / 3_600)
    };

    assert_eq!(retention("").ok(), Some(90 * 24));
    assert_eq!(retention("retention: 7d, ").ok(), Some(7 * 24));
    assert_eq!(retention("retention: 2w 12h, ").ok(), Some(14 * 24 + 12));
    assert_eq!(retention("retention: 0s, ").ok(), Some(0), "for ever");
    for wrong in ["6d 23h", "1s", "3 months", "-8d"] {
        let problems = retention(&format!("retention: {wrong}, ")).unwrap_err();
        assert!(
            problems.to_string().contains("`retention` must be"),
            "{problems}"
        );
    }
}

#[test]
fn a_file_without_parts_says_which_are_missing() {
    assert_eq!(
        said(""),
        [
            "`forges` is missing",
            "`cdns` is missing",
            "`sites` is missing",
            "warning: `server.public_url` is not set, so statuses will carry no link",
        ]
    );
}

#[test]
fn names_are_suggested() {
    let text = with_site(
        &MINIMAL
            .replace("github:", "gihtub:")
            .replace("tencent", "tencnet"),
    );

    let problems = reading(&text).err().unwrap();

    let shown = problems.to_string();
    assert!(
        shown.contains("there is no forge named `gihtub`"),
        "{shown}"
    );
    assert!(
        shown.contains("did you mean `github`? `forges:` has `github`"),
        "{shown}"
    );
    assert!(
        shown.contains("did you mean `tencent`? `cdns:` has `tencent`"),
        "{shown}"
    );
}

#[test]
fn sites_that_would_overwrite_each_others_status_are_warned_about() {
    let second = MINIMAL.replace("acme/website", "Acme/Website");
    let indented: String = second.lines().map(|l| format!("    {l}\n")).collect();
    let text = with_site(&format!("{MINIMAL}status: {{context: CDN}}\n"))
        + &format!("  blog:\n{indented}    status: {{context: cdn}}\n");

    assert_eq!(
        said(&text),
        [
            "16:23 warning: the sites `www` and `blog` would overwrite each other's status on the same commits"
        ]
    );
}

#[test]
fn a_rule_that_asks_for_what_the_cdn_cannot_do_is_warned_about() {
    let text = with_site(&MINIMAL.replace("urls: \"/{path}\"", "directories: /"))
        .replace("tencent-cdn", "urls-only");

    assert_eq!(
        said(&text),
        [
            "5:3 warning: the rule `rule 1` asks to purge directories, which the CDN `tencent` (tencent-cdn) cannot do"
        ]
    );
}

#[test]
fn rules_that_would_take_too_much_memory_are_refused() {
    let rules = |count: usize| -> String {
        let rule = |n| {
            let braces = "{a,b*}/".repeat(7);
            format!("  - {{match: ['{n}/{braces}x'], urls: ['/{{path}}']}}\n")
        };
        let rules: String = (0..count).map(rule).collect();
        let head = "repo: github:acme/website\nbase_urls: https://www.example.com\ncdns: tencent\n";
        with_site(&format!("{head}rules:\n{rules}"))
    };

    assert_eq!(said(&rules(50)), [""; 0]);
    let said = said(&rules(1_000));
    assert_eq!(said.len(), 1, "{said:?}");
    let words = "up to here, the site's globs may take more than 512 MB of memory";
    assert!(said[0].ends_with(words), "{said:?}");
}

#[test]
fn addresses_and_stores_are_checked() {
    for (line, good) in [
        ("listen: \"[::1]:80\"", true),
        ("listen: localhost:0", true),
        ("listen: \":8080\"", false),
        ("listen: 127.0.0.1:99999", false),
        ("listen: host name:80", false),
        ("database: sqlite:///var/lib/purgehook.db", true),
        ("database: postgres://u:p@db:5432/x", true),
        ("database: postgresql://db/x", true),
        ("database: sqlite://", false),
        ("database: purgehook.db", false),
        ("database: postgres://", false),
    ] {
        let text = with_site(MINIMAL).replace(
            "server: {public_url: https://purge.example.com}",
            &format!("server:\n  public_url: https://purge.example.com\n  {line}"),
        );
        assert_eq!(reading(&text).is_ok(), good, "{line}");
    }
}

#[test]
fn the_password_in_a_databases_address_is_no_more_shown_than_any_secret() {
    for address in [
        "postgres://user:p%40ss-of-the-store@db:5432/x",
        "postgres://user@db/x?sslmode=disable&password=p%40ss-of-the-store",
    ] {
        let text = with_site(MINIMAL).replace(
            "server: {public_url: https://purge.example.com}",
            &format!("server: {{public_url: https://purge.example.com, database: '{address}'}}"),
        );
        let redactor = reading(&text).unwrap().config.redactor;

        for written in ["p@ss-of-the-store", "p%40ss-of-the-store"] {
            let shown = redactor.quote(&format!("no entry for user with {written}"));
            assert_eq!(shown, "no entry for user with [hidden]", "{address}");
        }
    }
}

#[test]
fn no_message_shows_a_secret() {
    let broken = EVERYTHING
        .replace("cdn/purge", "\"${GITHUB_TOKEN}\"")
        .replace("kind: gitlab", "kind: ${GITHUB_TOKEN}")
        .replace("listen: 127.0.0.1:8080", "listen: ${GITHUB_TOKEN}")
        .replace("sqlite://purgehook.db", "${GITHUB_TOKEN}")
        .replace("[main]", "[\"[${GITHUB_TOKEN}\"]")
        .replace("https://www.example.com", "\"https://${GITHUB_TOKEN}/?q\"")
        .replace("[tencent, huawei]", "[\"${GITHUB_TOKEN}\"]")
        .replace("repo: github:", "repo: ${GITHUB_TOKEN}:")
        .replace("settle: 5m", "settle: ${GITHUB_TOKEN}");

    let problems = reading(&broken).err().unwrap();

    assert!(problems.list.len() >= 8, "{problems}");
    assert!(!problems.to_string().contains("canary"), "{problems}");
    let json = serde_json::to_string(&problems.list).unwrap();
    assert!(!json.contains("canary"), "{json}");
}

#[test]
fn a_missing_rules_file_says_how_to_name_another() {
    let outbound = Outbound::new(Clock::system()).unwrap();

    let problems = load(
        Path::new("nowhere/rules.yaml"),
        Environment::of([]),
        &outbound,
    )
    .err()
    .unwrap();

    assert_eq!(
        problems.to_string(),
        "\
error: there is no rules file at `nowhere/rules.yaml`
--> nowhere/rules.yaml
 = help: give its path with `--rules PATH` or in PURGEHOOK_RULES

nowhere/rules.yaml: 1 error"
    );
}

#[test]
fn a_rules_file_that_is_not_text_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.yaml");
    std::fs::write(&path, b"a: 1\nb: \xff\n").unwrap();
    let outbound = Outbound::new(Clock::system()).unwrap();

    let problems = load(&path, Environment::of([]), &outbound).err().unwrap();

    assert!(
        problems
            .to_string()
            .contains("not UTF-8 text (line 2, column ")
    );
}

/// The example at the project's root, which newcomers start from.
fn the_example(variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let outbound = Outbound::new(Clock::system()).unwrap();
    load(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("rules.yaml"),
        Environment::of(variables.iter().copied()),
        &outbound,
    )
}

#[test]
fn the_example_is_accepted_with_the_variables_it_documents() {
    let loaded = the_example(&[
        ("PURGEHOOK_PUBLIC_URL", "https://purge.example.com"),
        ("GITHUB_WEBHOOK_SECRET", "one-of-sixteen-letters"),
        ("GITHUB_TOKEN", "two"),
        ("TENCENTCLOUD_SECRET_ID", "three"),
        ("TENCENTCLOUD_SECRET_KEY", "four"),
    ])
    .unwrap_or_else(|problems| panic!("{problems}"));

    assert_eq!(loaded.warnings.to_string(), "");
    assert_eq!(loaded.config.sites.len(), 1);
}

#[test]
fn the_example_without_its_variables_names_them_all_and_nothing_else() {
    let problems = the_example(&[("PURGEHOOK_PUBLIC_URL", "https://purge.example.com")])
        .err()
        .unwrap();

    assert_eq!(
        *problems.unset,
        [
            "GITHUB_WEBHOOK_SECRET",
            "GITHUB_TOKEN",
            "TENCENTCLOUD_SECRET_ID",
            "TENCENTCLOUD_SECRET_KEY"
        ]
    );
    assert_eq!(problems.list.len(), 4, "{problems}");
}

#[test]
fn observe_is_read_as_a_dry_run() {
    for word in ["dry-run", "observe"] {
        let text = with_site(&format!(
            "repo: github:acme/website\nbase_urls: https://www.example.com\ncdns: tencent\nmode: {word}\n\
             rules: [{{match: \"**\", urls: \"/\"}}]"
        ));

        assert!(config(&text).sites["www"].mode.is_dry_run(), "{word}");
    }
}

#[test]
fn a_webhook_calls_an_address_below_the_public_one() {
    let address = |base: &str| {
        let text = with_site(
            "repo: github:acme/website\nbase_urls: https://www.example.com\ncdns: tencent\n\
             rules: [{match: \"**\", urls: \"/\"}]",
        );
        let mut server = config(&text).server;
        server.public_url = Some(url::Url::parse(base).unwrap());
        server.hook_address("github").unwrap().to_string()
    };

    assert_eq!(
        address("https://p.example/"),
        "https://p.example/hooks/github"
    );
    assert_eq!(
        address("https://p.example/at"),
        "https://p.example/at/hooks/github"
    );
}
