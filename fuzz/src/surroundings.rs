//! What the program needs around it: a clock that stands still, an environment, and no network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use purgehook::clock::{Clock, TimeSource};
use purgehook::config::{self, ALL_KINDS, Config};
use purgehook::http::Outbound;
use purgehook::settings::Environment;

/// The moment at which the clock stands, in seconds since 1970.
pub const NOW: i64 = 1_795_305_600;
/// The secret of every forge here.
pub const SECRET: &str = "a-webhook-secret-of-the-fuzzers";
/// The key in GitLab's signing token.
pub const SIGNING_KEY: [u8; 32] = [7; 32];
/// A value of the environment that nothing may show.
pub const HIDDEN: &str = "hidden-value-of-the-environment";

struct Still;

#[async_trait]
impl TimeSource for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(NOW).expect("a moment of this century")
    }

    /// Waiting costs nothing, or a fuzzer would do little else.
    async fn sleep(&self, _: Duration) {
        tokio::task::yield_now().await;
    }
}

/// A clock that stands still, with the same randomness every time.
pub fn clock() -> Clock {
    Clock::new(Arc::new(Still), fastrand::Rng::with_seed(1))
}

pub fn outbound() -> Outbound {
    Outbound::new(clock()).expect("a client for requests")
}

/// The variables that rules files may name.
pub fn environment() -> Environment {
    Environment::of([
        ("HIDDEN", HIDDEN),
        ("GITHUB_WEBHOOK_SECRET", HIDDEN),
        ("GITHUB_TOKEN", HIDDEN),
        ("TENCENTCLOUD_SECRET_ID", HIDDEN),
        ("TENCENTCLOUD_SECRET_KEY", HIDDEN),
        ("HUAWEICLOUD_SDK_AK", HIDDEN),
        ("HUAWEICLOUD_SDK_SK", HIDDEN),
    ])
}

/// One entry of each kind of forge and CDN, named after it, all of them at `address`.
pub fn everything(address: &str, outbound: &Outbound) -> Config {
    use base64::Engine;
    let signing = base64::engine::general_purpose::STANDARD.encode(SIGNING_KEY);
    let rules = format!(
        r#"
forges:
  github: {{kind: github, secrets: [{SECRET}], token: t, api_url: "{address}/github"}}
  gitlab: {{kind: gitlab, secrets: [{SECRET}], token: t, api_url: "{address}/gitlab"}}
  gitlab-signed: {{kind: gitlab, signing_tokens: ["whsec_{signing}"], token: t, api_url: "{address}/gitlab"}}
  gitea: {{kind: gitea, secrets: [{SECRET}], token: t, api_url: "{address}/gitea"}}
  gitee: {{kind: gitee, mode: password, secrets: [{SECRET}], token: t, api_url: "{address}/gitee"}}
cdns:
  tencent-cdn: {{kind: tencent-cdn, secret_id: i, secret_key: k, endpoint: "{address}"}}
  tencent-ecdn: {{kind: tencent-ecdn, secret_id: i, secret_key: k, endpoint: "{address}"}}
  qcloud: {{kind: qcloud, secret_id: i, secret_key: k, endpoint: "{address}"}}
  huawei-cdn: {{kind: huawei-cdn, access_key: i, secret_key: k, endpoint: "{address}"}}
sites:
  www:
    repo: github:acme/website
    base_urls: [https://www.example.com]
    cdns: [tencent-cdn]
    rules: [{{match: "**", urls: ["/{{path}}"]}}]
"#
    );
    match config::read("rules.yaml", &rules, environment(), outbound, ALL_KINDS) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

/// Panics unless a text is fit for a log line and a table: no control characters, and not without end.
pub fn check_words(words: &str) {
    assert!(
        !words.chars().any(char::is_control),
        "control characters in {words:?}"
    );
    assert!(words.len() <= 8_192, "{} bytes of words", words.len());
}
