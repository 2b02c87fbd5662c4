//! Reads the forge and repository from the URL of a clone's remote.

use crate::forge::kind_of_host;

/// The remote of a clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The host, with a port if the URL has one for HTTP.
    pub host: String,
    /// The repository's full path.
    pub path: String,
}

impl Remote {
    /// Parses the output of `git remote get-url`: `https://`, `ssh://` or `git@host:path`. None for others, such as
    /// a local folder.
    pub fn parse(address: &str) -> Option<Self> {
        let address = address.trim();
        let (host, path, is_web) = match address.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/')?;
                let is_web = matches!(scheme, "http" | "https");
                if !is_web && !matches!(scheme, "ssh" | "git" | "git+ssh") {
                    return None;
                }
                (host, path, is_web)
            }
            None => {
                let (host, path) = address.split_once(':')?;
                if host.contains('/') || host.len() < 2 {
                    return None;
                }
                (host, path, false)
            }
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = match host.split_once(':') {
            Some((name, _)) if !is_web => name,
            Some(_) | None => host,
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        if host.is_empty() || !path.contains('/') {
            return None;
        }
        Some(Self {
            host: host.to_ascii_lowercase(),
            path: path.to_owned(),
        })
    }

    /// The kind of forge that probably runs there.
    pub fn kind(&self) -> Option<&'static str> {
        let name = self.host.split(':').next().unwrap_or_default();
        let named = [
            ("github", "github"),
            ("gitlab", "gitlab"),
            ("gitea", "gitea"),
            ("forgejo", "gitea"),
            ("gitee", "gitee"),
        ];
        kind_of_host(name).or_else(|| {
            let found = named.iter().find(|(word, _)| name.contains(word));
            found.map(|(_, kind)| *kind)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_tells_its_forge_and_its_repository() {
        for (address, kind, host, path) in [
            (
                "git@github.com:acme/website.git",
                Some("github"),
                "github.com",
                "acme/website",
            ),
            (
                "https://github.com/acme/website",
                Some("github"),
                "github.com",
                "acme/website",
            ),
            (
                "https://user:secret@gitlab.com/a/b/c.git",
                Some("gitlab"),
                "gitlab.com",
                "a/b/c",
            ),
            (
                "ssh://git@gitlab.example.com:2222/a/b.git",
                Some("gitlab"),
                "gitlab.example.com",
                "a/b",
            ),
            (
                "https://codeberg.org/a/b.git",
                Some("gitea"),
                "codeberg.org",
                "a/b",
            ),
            ("git@gitee.com:a/b.git", Some("gitee"), "gitee.com", "a/b"),
            (
                "https://git.example.com:8443/a/b.git",
                None,
                "git.example.com:8443",
                "a/b",
            ),
        ] {
            let remote = Remote::parse(address).unwrap();
            assert_eq!(remote.kind(), kind, "{address}");
            assert_eq!(remote.host, host, "{address}");
            assert_eq!(remote.path, path, "{address}");
        }
    }

    #[test]
    fn what_is_no_forges_address_is_none() {
        for address in [
            "",
            "/srv/git/website.git",
            "file:///srv/a/b",
            "../website",
            "C:\\a\\b",
            "a/b",
            "git@github.com:x",
        ] {
            assert_eq!(Remote::parse(address), None, "{address}");
        }
    }
}
