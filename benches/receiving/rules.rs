//! The rules files that purgehook has here.

use std::fmt::Write;

use purgehook::sandbox::Sandbox;

use crate::support::webhook::{SECRET, repo_name};

/// How many repositories are pushed to, where nothing else is said.
pub const SITES: usize = 64;

/// Sites whose forge and whose CDN are out of reach, so that nobody else's time is measured. Observed
/// ones plan what they would purge, and are done with that: nothing piles up that a CDN would have taken.
pub fn rules_of_sites(sites: usize, mode: &str) -> String {
    let start = format!(
        "
forges:
  github: {{kind: github, secrets: [{SECRET}], api_url: 'http://127.0.0.1:9'}}
cdns:
  cdn: {{kind: tencent-cdn, secret_id: i, secret_key: k, endpoint: 'http://127.0.0.1:9'}}
"
    );
    with_sites(start, sites, mode)
}

/// Sites between the sandbox's GitHub and Tencent's CDN in it.
pub fn rules_in_sandbox(sites: usize, sandbox: &Sandbox) -> String {
    let (github, cdn) = (sandbox.github(), sandbox.tencent_cdn());
    let start = format!(
        "
forges:
  github: {{kind: github, secrets: ['{}'], token: '{}', api_url: '{}'}}
cdns:
  cdn: {{kind: tencent-cdn, secret_id: '{}', secret_key: '{}', endpoint: '{}'}}
",
        github.webhook_secret(),
        github.token(),
        github.url(),
        cdn.secret_id(),
        cdn.secret_key(),
        cdn.url()
    );
    with_sites(start, sites, "live")
}

/// The host of a site, by its number.
pub fn host(site: usize) -> String {
    format!("www-{site}.example.com")
}

fn with_sites(mut rules: String, sites: usize, mode: &str) -> String {
    rules.push_str("sites:\n");
    for site in 0..sites {
        let (repo, host) = (repo_name(site), host(site));
        write!(
            rules,
            "  site-{site}:
    repo: github:{repo}
    base_urls: [https://{host}]
    cdns: [cdn]
    mode: {mode}
    settle: 0s
    rules: [{{match: ['content/**/*.md'], strip: content/, urls: ['/{{page}}']}}]
"
        )
        .unwrap();
    }
    rules
}
