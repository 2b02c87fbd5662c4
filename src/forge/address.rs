//! A forge's `api_url:`: checks whether it can be the address of that kind's API.
//!
//! The paths are from the forges' documents: "Getting started with the REST API" (GitHub Enterprise Server), "REST
//! API" (GitLab), "API Usage" (Gitea), "API v5" (Gitee).

use url::Url;

use crate::settings::{Located, Section};

/// The address of a kind's API.
pub(super) struct ApiAddress {
    /// The value of `kind:`.
    pub kind: &'static str,
    /// The forge's name.
    pub name: &'static str,
    /// The path on a self-hosted server.
    pub path: &'static str,
    /// The public service; none if there is none.
    pub public: Option<&'static str>,
    /// The path between a repository's path and that of one of its web pages.
    pub infix: Option<&'static str>,
}

pub(super) const GITHUB: ApiAddress = ApiAddress {
    kind: "github",
    name: "GitHub",
    path: "/api/v3",
    public: Some("https://api.github.com"),
    infix: None,
};
pub(super) const GITLAB: ApiAddress = ApiAddress {
    kind: "gitlab",
    name: "GitLab",
    path: "/api/v4",
    public: Some("https://gitlab.com/api/v4"),
    infix: Some("-"),
};
pub(super) const GITEA: ApiAddress = ApiAddress {
    kind: "gitea",
    name: "Gitea",
    path: "/api/v1",
    public: None,
    infix: None,
};
pub(super) const GITEE: ApiAddress = ApiAddress {
    kind: "gitee",
    name: "Gitee",
    path: "/api/v5",
    public: Some("https://gitee.com/api/v5"),
    infix: None,
};

/// Well-known hosts: their kind, and the address of their API.
const KNOWN: [(&str, &str, &str); 9] = [
    ("github.com", "github", "https://api.github.com"),
    ("www.github.com", "github", "https://api.github.com"),
    ("api.github.com", "github", "https://api.github.com"),
    ("gitlab.com", "gitlab", "https://gitlab.com/api/v4"),
    ("www.gitlab.com", "gitlab", "https://gitlab.com/api/v4"),
    ("gitee.com", "gitee", "https://gitee.com/api/v5"),
    ("codeberg.org", "gitea", "https://codeberg.org/api/v1"),
    ("gitea.com", "gitea", "https://gitea.com/api/v1"),
    ("demo.gitea.com", "gitea", "https://demo.gitea.com/api/v1"),
];

/// The kind of forge on a well-known host.
pub fn kind_of_host(host: &str) -> Option<&'static str> {
    let known = KNOWN.iter().find(|(known, ..)| *known == host);
    known.map(|(_, kind, _)| *kind)
}

/// The `api_url:` of a kind's forge on a host; none for the kind's own public service.
pub fn api_url(kind: &str, host: &str) -> Option<String> {
    let kinds = [&GITHUB, &GITLAB, &GITEA, &GITEE];
    let address = kinds.into_iter().find(|address| address.kind == kind)?;
    let known = KNOWN.iter().find(|(known, ..)| *known == host);
    let api = match known {
        Some((_, _, api)) => (*api).to_owned(),
        None => format!("https://{host}{}", address.path),
    };
    (address.public != Some(api.as_str())).then_some(api)
}

/// Whether a kind has a public service, so that `api_url:` can be omitted.
pub fn has_public_service(kind: &str) -> bool {
    let kinds = [&GITHUB, &GITLAB, &GITEA, &GITEE];
    kinds
        .into_iter()
        .any(|address| address.kind == kind && address.public.is_some())
}

/// Reads `api_url:`, by default that of the public service. None if it is invalid or there is no such service.
pub(super) fn read(section: &mut Section, address: &ApiAddress) -> Option<Url> {
    let given = section.place_of("api_url").is_some();
    match section.url("api_url") {
        Some(url) => check(section, address, url),
        None => {
            if !given && address.public.is_none() {
                section.missing(
                    "api_url",
                    Some(format!(
                        "give the address of its API, `https://HOST{}`",
                        address.path
                    )),
                );
            }
            Url::parse(address.public?).ok()
        }
    }
}

fn check(section: &mut Section, address: &ApiAddress, url: Located<Url>) -> Option<Url> {
    let Located { value: url, at } = url;
    let host = url.host_str().unwrap_or_default();
    let written = url.as_str().trim_end_matches('/');
    if let Some((_, kind, api)) = KNOWN.iter().find(|(known, ..)| *known == host) {
        if *kind != address.kind {
            section.problem(
                at,
                format!("`api_url` is on {host}, which is no {}", address.name),
                Some(format!(
                    "write `kind: {kind}`, or the address of your {}",
                    address.name
                )),
            );
            return None;
        }
        if written != *api {
            section.problem(
                at,
                format!("`api_url` is not where the API of {host} is"),
                Some(format!("write `{api}`")),
            );
            return None;
        }
        return Some(url);
    }
    let path = url.path().trim_end_matches('/');
    // GitHub Enterprise Cloud with data residency has its API at `https://api.SUBDOMAIN.ghe.com`.
    let may_be_bare = address.kind == GITHUB.kind
        && (host.starts_with("api.") || is_loopback(&url))
        && path.is_empty();
    if !path.ends_with(address.path) && !may_be_bare {
        let start = path.split(address.path).next().unwrap_or_default();
        let start = if path.contains(address.path) {
            start
        } else {
            before_api(path)
        };
        let (name, wanted) = (address.name, address.path);
        section.warning(
            at,
            format!(
                "`api_url` does not end in `{wanted}`, where the API of a self-hosted {name} is"
            ),
            Some(format!(
                "write `{}{start}{wanted}`",
                url.origin().ascii_serialization()
            )),
        );
    }
    Some(url)
}

/// The path of the forge itself, if a path ends in another version of an API.
fn before_api(path: &str) -> &str {
    match path.find("/api") {
        Some(at) => path.get(..at).unwrap_or_default(),
        None => path,
    }
}

/// Whether an address belongs to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Whether an address belongs to this machine or to a private network.
pub(crate) fn is_local(url: &Url) -> bool {
    use std::net::{IpAddr, Ipv4Addr};
    let local_v4 = |ip: Ipv4Addr| {
        ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
    };
    match url.host() {
        None => false,
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost"
                || ["localhost", "local", "internal", "lan", "home.arpa"]
                    .iter()
                    .any(|end| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
                // A name without dots is resolved in the network's own domain.
                || !name.contains('.')
        }
        Some(url::Host::Ipv4(ip)) => local_v4(ip),
        Some(url::Host::Ipv6(ip)) => {
            let as_v4 = match IpAddr::V6(ip).to_canonical() {
                IpAddr::V4(ip) => local_v4(ip),
                IpAddr::V6(_) => false,
            };
            let first = ip.segments()[0];
            // Unique local and link-local addresses (RFC 4193, RFC 4291).
            as_v4
                || ip.is_loopback()
                || ip.is_unspecified()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
        }
    }
}
