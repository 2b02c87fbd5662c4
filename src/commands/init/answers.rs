//! What `init` needs to know, from options, detection or questions.

use crate::cdn::{self, CdnKind};
use crate::forge::{self, ForgeKind};
use crate::rules::BaseUrl;
use crate::settings::{Entry, did_you_mean};

use super::preset::{PRESETS, Preset};
use super::remote::Remote;

/// The answers from which the files are written.
pub struct Answers {
    /// The kind of forge.
    pub forge: &'static ForgeKind,
    /// The repository's full path on it.
    pub repo: String,
    /// The branch that is served.
    pub branch: String,
    /// The address of the forge's API, unless it is the kind's public service.
    pub api_url: Option<String>,
    /// The kind of CDN.
    pub cdn: &'static CdnKind,
    /// The rules.
    pub preset: &'static Preset,
    /// The folder of the site in the repository; empty for its top.
    pub folder: String,
    /// The address of the site.
    pub base_url: BaseUrl,
    /// The address at which browsers reach purgehook; empty if not given.
    pub public_url: String,
}

impl Answers {
    /// The site's name: the first label of its host.
    pub fn site(&self) -> String {
        let host = self.base_url.to_string();
        let host = host.split("://").nth(1).unwrap_or_default();
        let label = host.split(['.', ':', '/']).next().unwrap_or_default();
        let is_name = label.starts_with(|c: char| c.is_ascii_lowercase())
            && label.len() <= 64
            && label
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if is_name { label } else { "www" }.to_owned()
    }

    /// The entries of the rules file that use variables.
    pub fn entries(&self) -> [&'static Entry; 2] {
        [&self.forge.entry, &self.cdn.entry]
    }
}

/// A kind of forge by its name, or an error.
pub fn forge_named(name: &str) -> Result<&'static ForgeKind, String> {
    let names = forge::KINDS.iter().map(|kind| kind.name);
    let found = forge::KINDS.iter().find(|kind| kind.name == name);
    found.ok_or_else(|| unknown("forge", name, names))
}

/// A kind of CDN by its name, or an error.
pub fn cdn_named(name: &str) -> Result<&'static CdnKind, String> {
    let names = cdn::KINDS.iter().map(|kind| kind.name);
    let found = cdn::KINDS.iter().find(|kind| kind.name == name);
    found.ok_or_else(|| unknown("CDN", name, names))
}

/// A preset by its name, or an error.
pub fn preset_named(name: &str) -> Result<&'static Preset, String> {
    let names = PRESETS.iter().map(|preset| preset.name);
    Preset::named(name).ok_or_else(|| unknown("generator", name, names))
}

fn unknown<'n>(what: &str, name: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let advice = did_you_mean(name, names, &format!("the {what}s are"));
    format!("there is no {what} `{}`: {advice}", name.escape_debug())
}

/// A repository's full path, also from its URL.
pub fn repo_named(text: &str) -> Result<String, String> {
    let path = match Remote::parse(text) {
        Some(remote) => remote.path,
        None => text.trim_matches('/').to_owned(),
    };
    match crate::event::RepoPath::parse(&path) {
        Some(path) => Ok(path.to_string()),
        None => Err(format!(
            "`{}` is no full path of a repository: write it as acme/website",
            text.escape_debug()
        )),
    }
}

/// A base URL. A host without a scheme gets HTTPS.
pub fn base_url(text: &str) -> Result<BaseUrl, String> {
    let text = text.trim();
    let full = if text.contains("://") || text.is_empty() {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    BaseUrl::parse(&full).map_err(|error| match error.advice {
        Some(advice) => format!("{}: {advice}", error.message),
        None => error.message,
    })
}

/// The address of this server or of an API, without a final slash; empty stays empty.
pub fn address(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    Ok(base_url(text)?.to_string())
}

/// A branch.
pub fn branch_named(text: &str) -> Result<String, String> {
    let good = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || "/._+-".contains(c));
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is no branch", text.escape_debug()))
    }
}

/// A folder of the repository, without slashes around it; empty for its top.
pub fn folder_named(text: &str) -> Result<String, String> {
    let folder = text.trim_start_matches("./").trim_matches('/');
    let folder = if folder == "." { "" } else { folder };
    let good = folder.is_empty()
        || folder.split('/').all(|part| {
            !part.is_empty()
                && part != ".."
                && part
                    .chars()
                    .all(|c| c.is_alphanumeric() || " ._@+-".contains(c))
        });
    if good {
        Ok(folder.to_owned())
    } else {
        Err(format!(
            "`{}` is no folder of the repository that rules can be written for",
            text.escape_debug()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_as_people_write_it() {
        assert_eq!(repo_named("acme/website").unwrap(), "acme/website");
        let address = "https://github.com/acme/website.git";
        assert_eq!(repo_named(address).unwrap(), "acme/website");
        assert_eq!(
            base_url("www.example.com").unwrap().to_string(),
            "https://www.example.com"
        );
        assert_eq!(folder_named("./docs/").unwrap(), "docs");
        assert_eq!(folder_named(".").unwrap(), "");
    }

    #[test]
    fn what_cannot_be_is_said_with_what_can() {
        for (said, words) in [
            (repo_named("website").err(), "acme/website"),
            (forge_named("githup").err(), "github"),
            (cdn_named("tencent").err(), "tencent-cdn"),
            (preset_named("hogo").err(), "hugo"),
            (base_url("https://*.example.com").err(), "example.com"),
            (folder_named("../x").err(), "no folder"),
            (folder_named("a/*").err(), "no folder"),
            (branch_named("a b").err(), "no branch"),
        ] {
            let said = said.unwrap();
            assert!(said.contains(words), "{said}");
        }
    }
}
