//! The addresses of a forge's web pages, derived only from that of its API.

use url::Url;

use super::address::{self, ApiAddress};
use crate::event::{CommitId, RepoPath};

/// The addresses of one forge's pages.
pub struct WebPages {
    /// The address above all of them.
    root: Url,
    /// The path between a repository's path and a page's, if any.
    infix: Option<&'static str>,
}

impl WebPages {
    /// The web pages for an API. None if they cannot be derived from the API's address.
    pub(super) fn of(address: &ApiAddress, api_url: &Url) -> Option<Self> {
        let mut root = api_url.clone();
        root.set_query(None);
        root.set_fragment(None);
        let path = api_url.path().trim_end_matches('/');
        if let Some(before) = path.strip_suffix(address.path) {
            root.set_path(before);
        } else if address.kind == address::GITHUB.kind && path.is_empty() {
            // `api.github.com`, and `api.SUBDOMAIN.ghe.com` with data residency.
            let host = api_url.host_str()?.strip_prefix("api.")?;
            root.set_host(Some(host)).ok()?;
        } else {
            return None;
        }
        Some(Self {
            root,
            infix: address.infix,
        })
    }

    /// The pages of repositories directly below an address.
    #[cfg(test)]
    pub(crate) fn below(root: Url) -> Self {
        Self { root, infix: None }
    }

    /// A repository's home page.
    pub fn repository(&self, repo: &RepoPath) -> String {
        self.page(repo, None, &[])
    }

    /// A commit's page.
    pub fn commit(&self, repo: &RepoPath, commit: &CommitId) -> String {
        self.page(repo, self.infix, &["commit", commit.as_str()])
    }

    /// The page that compares two commits.
    pub fn comparison(&self, repo: &RepoPath, from: &CommitId, to: &CommitId) -> String {
        self.page(repo, self.infix, &["compare", &format!("{from}...{to}")])
    }

    fn page(&self, repo: &RepoPath, infix: Option<&str>, rest: &[&str]) -> String {
        let mut page = self.root.clone();
        if let Ok(mut path) = page.path_segments_mut() {
            path.pop_if_empty();
            path.extend(repo.as_str().split('/'));
            path.extend(infix);
            path.extend(rest);
        }
        page.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::{GITEA, GITEE, GITHUB, GITLAB};
    use super::*;

    fn commit_page(address: &ApiAddress, api_url: &str) -> Option<String> {
        let pages = WebPages::of(address, &Url::parse(api_url).unwrap())?;
        let repo = RepoPath::parse("acme/web-site").unwrap();
        let commit = CommitId::parse(&"a".repeat(40)).unwrap();
        Some(pages.commit(&repo, &commit).replace(commit.as_str(), "ID"))
    }

    #[test]
    fn a_commits_page_is_where_the_forge_has_it() {
        for (address, api_url, page) in [
            (
                &GITHUB,
                "https://api.github.com",
                "https://github.com/acme/web-site/commit/ID",
            ),
            (
                &GITHUB,
                "https://api.acme.ghe.com",
                "https://acme.ghe.com/acme/web-site/commit/ID",
            ),
            (
                &GITHUB,
                "https://git.acme.com/api/v3/",
                "https://git.acme.com/acme/web-site/commit/ID",
            ),
            (
                &GITLAB,
                "https://gitlab.com/api/v4",
                "https://gitlab.com/acme/web-site/-/commit/ID",
            ),
            (
                &GITLAB,
                "http://localhost:8080/git/api/v4",
                "http://localhost:8080/git/acme/web-site/-/commit/ID",
            ),
            (
                &GITEA,
                "https://codeberg.org/api/v1",
                "https://codeberg.org/acme/web-site/commit/ID",
            ),
            (
                &GITEE,
                "https://gitee.com/api/v5",
                "https://gitee.com/acme/web-site/commit/ID",
            ),
        ] {
            assert_eq!(commit_page(address, api_url).as_deref(), Some(page));
        }
    }

    #[test]
    fn where_the_pages_are_is_not_guessed() {
        assert_eq!(commit_page(&GITHUB, "http://127.0.0.1:8080"), None);
        assert_eq!(commit_page(&GITLAB, "https://git.acme.com/gateway"), None);
    }
}
