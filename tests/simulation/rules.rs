//! The rules of the worlds, as a user would write them. The clients are replaced by the worlds' own.

use std::sync::OnceLock;

use purgehook::clock::Clock;
use purgehook::config::{self, ALL_KINDS, Config};
use purgehook::http::Outbound;
use purgehook::settings::Environment;

use crate::promises::Site;

/// The files that are pushed.
pub const PATHS: [&str; 6] = [
    "a.html",
    "b.html",
    "c.html",
    "css/site.css",
    "css/print.css",
    "css/old/site.css",
];

/// What the forge tells the program of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    Pushes,
    Deployments,
}

/// Rules, what they say of the sites, and the CDNs' names.
pub struct Rules {
    text: &'static str,
    pub tells_of: Tells,
    pub cdns: &'static [&'static str],
    pub sites: &'static [Site],
    read: OnceLock<Config>,
}

impl Rules {
    /// The rules with clients for the real world, read once.
    pub fn config(&self) -> Config {
        let read = self.read.get_or_init(|| {
            let outbound = Outbound::new(Clock::system()).unwrap();
            let environment = Environment::of([]);
            let loaded = config::read("rules.yaml", self.text, environment, &outbound, ALL_KINDS);
            loaded
                .unwrap_or_else(|problems| panic!("{problems}"))
                .config
        });
        read.clone()
    }
}

/// One site on one CDN, each file a URL.
pub static PLAIN: Rules = Rules {
    text: r#"
server: {public_url: "http://127.0.0.1:8080", reconcile: 2m}
forges:
  host: {kind: github, secrets: ["a-secret-of-the-world"], token: t}
cdns:
  edge: {kind: tencent-cdn, secret_id: i, secret_key: k}
sites:
  www:
    repo: host:acme/website
    base_urls: [https://www.example.com]
    cdns: [edge]
    status: {context: purgehook/www}
    rules:
      - name: pages
        match: ["**"]
        urls: ["/{path}"]
"#,
    tells_of: Tells::Pushes,
    cdns: &["edge"],
    sites: &[Site {
        name: "www",
        context: "purgehook/www",
        base_url: "https://www.example.com",
        cdns: &["edge"],
        redeploys_everything: false,
    }],
    read: OnceLock::new(),
};

/// Two sites of one repository, which share an account; directories, prefetches, a second CDN.
pub static RICH: Rules = Rules {
    text: r#"
server: {public_url: "http://127.0.0.1:8080", reconcile: 2m}
forges:
  host: {kind: github, secrets: ["a-secret-of-the-world"], token: t}
cdns:
  edge: {kind: tencent-cdn, secret_id: i, secret_key: k}
  rim: {kind: huawei-cdn, access_key: i, secret_key: k}
sites:
  www:
    repo: host:acme/website
    base_urls: [https://www.example.com]
    cdns: [edge, rim]
    status: {context: purgehook/www}
    rules:
      - name: pages
        match: ["*.html"]
        urls: ["/{path}"]
        prefetch: ["/{path}"]
      - name: styles
        match: ["css/**"]
        directories: ["/{dir}/"]
  docs:
    repo: host:acme/website
    base_urls: [https://docs.example.com]
    cdns: [edge]
    status: {context: purgehook/docs}
    rules:
      - name: all
        match: ["**"]
        urls: ["/{path}"]
"#,
    tells_of: Tells::Pushes,
    cdns: &["edge", "rim"],
    sites: &[
        Site {
            name: "www",
            context: "purgehook/www",
            base_url: "https://www.example.com",
            cdns: &["edge", "rim"],
            redeploys_everything: false,
        },
        Site {
            name: "docs",
            context: "purgehook/docs",
            base_url: "https://docs.example.com",
            cdns: &["edge"],
            redeploys_everything: false,
        },
    ],
    read: OnceLock::new(),
};

/// Two sites that are purged after deployments, the second one from scratch where a commit is deployed again.
pub static DEPLOYED: Rules = Rules {
    text: r#"
server: {public_url: "http://127.0.0.1:8080", reconcile: 2m}
forges:
  host: {kind: github, secrets: ["a-secret-of-the-world"], token: t}
cdns:
  edge: {kind: tencent-cdn, secret_id: i, secret_key: k}
sites:
  www:
    repo: host:acme/website
    trigger: {deployment: production}
    base_urls: [https://www.example.com]
    cdns: [edge]
    status: {context: purgehook/www}
    rules:
      - name: pages
        match: ["*.html"]
        urls: ["/{path}"]
      - name: styles
        match: ["css/**"]
        directories: ["/{dir}/"]
  docs:
    repo: host:acme/website
    trigger: {deployment: production}
    redeploy: everything
    base_urls: [https://docs.example.com]
    cdns: [edge]
    status: {context: purgehook/docs}
    rules:
      - name: all
        match: ["**"]
        urls: ["/{path}"]
"#,
    tells_of: Tells::Deployments,
    cdns: &["edge"],
    sites: &[
        Site {
            name: "www",
            context: "purgehook/www",
            base_url: "https://www.example.com",
            cdns: &["edge"],
            redeploys_everything: false,
        },
        Site {
            name: "docs",
            context: "purgehook/docs",
            base_url: "https://docs.example.com",
            cdns: &["edge"],
            redeploys_everything: true,
        },
    ],
    read: OnceLock::new(),
};
