//! The rules file that `init` writes.

use std::fmt::Write;

use super::answers::Answers;

/// The whole file.
pub fn text(answers: &Answers) -> String {
    let Answers {
        forge,
        repo,
        branch,
        api_url,
        cdn,
        preset,
        folder,
        base_url,
        public_url,
    } = answers;
    let (forge_name, cdn_name, site) = (forge.name, cdn.name, answers.site());
    let public_url = match public_url.as_str() {
        "" => "${PURGEHOOK_PUBLIC_URL:-}",
        given => given,
    };
    let api_url = match api_url {
        Some(api_url) => format!("    api_url: {api_url}\n"),
        None => String::new(),
    };
    let mut text = format!(
        "# Which pushes to {repo} purge what, on which CDN.
#
# `purgehook check` shows all that is wrong with this file. `purgehook plan --repo . --from HEAD~5`, in a clone of the
# site, shows what the last commits would have purged, and sends nothing. ${{NAME}} is read from the environment.

server:
  # Where browsers reach purgehook: statuses on commits link to it.
  public_url: {public_url}

forges:
  {forge_name}:      # its webhooks go to /hooks/{forge_name}
    kind: {forge_name}
{}{api_url}
cdns:
  {cdn_name}:
    kind: {cdn_name}
{}
sites:
  {site}:
    repo: {forge_name}:{repo}
    branches: [{branch}]
    # If the site is built and deployed after the push, wait for that: {triggers}.
    trigger: push
    # Every address under which the site is served.
    base_urls: [{base_url}]
    cdns: [{cdn_name}]

",
        indented(forge.entry.keys, 4),
        indented(cdn.entry.keys, 4),
        triggers = triggers(forge_name),
    );
    let rules = preset.below(folder);
    let fits = |line: &&str| cdn.prefetches || !line.trim_start().starts_with("prefetch:");
    let rules: Vec<&str> = rules.lines().filter(fits).collect();
    let _ = write!(text, "{}", indented(&rules.join("\n"), 4));
    text
}

/// A comment for the file with the triggers of a kind of forge.
fn triggers(forge: &str) -> &'static str {
    match forge {
        "github" => "{workflow: deploy.yml}, {deployment: production} or page_build",
        "gitlab" => "{pipeline: success} or {deployment: production}",
        "gitea" => "release",
        _ => "have the deployment push a branch of built files, and name that branch",
    }
}

/// Indents each line.
fn indented(text: &str, by: usize) -> String {
    let blanks = " ".repeat(by);
    let line = |line: &str| match line {
        "" => "\n".to_owned(),
        line => format!("{blanks}{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::commands::init::answers::{Answers, base_url};
    use crate::commands::init::preset::PRESETS;
    use crate::config::{self, ALL_KINDS};
    use crate::http::Outbound;
    use crate::settings::Environment;
    use crate::{cdn, forge};

    #[test]
    fn each_preset_can_be_used_with_each_forge_and_each_cdn() {
        let outbound = Outbound::direct(Clock::system()).unwrap();
        for preset in PRESETS {
            for forge in forge::KINDS {
                for cdn in cdn::KINDS {
                    for folder in ["", "packages/web site"] {
                        let answers = Answers {
                            forge,
                            repo: "acme/website".to_owned(),
                            branch: "main".to_owned(),
                            api_url: forge::api_url(forge.name, "git.example.com"),
                            cdn,
                            preset,
                            folder: folder.to_owned(),
                            base_url: base_url("www.example.com").unwrap(),
                            public_url: "https://purge.example.com".to_owned(),
                        };
                        let text = text(&answers);

                        let variables = answers.entries().into_iter();
                        let variables = variables.flat_map(|entry| entry.variables);
                        let set: Vec<(&str, &str)> = variables
                            .map(|variable| (variable.name, "9f2c41d7e80b5a63c1d94e7f02ab8836"))
                            .collect();
                        let loaded = config::read(
                            "rules.yaml",
                            &text,
                            Environment::of(set),
                            &outbound,
                            ALL_KINDS,
                        );
                        let loaded = loaded.unwrap_or_else(|problems| {
                            panic!("{}\n{text}", problems.render(false))
                        });
                        let warnings = loaded.warnings.render(false);
                        // The warning about the service's announced end.
                        let expected = usize::from(cdn.name == "qcloud");
                        let count = loaded.warnings.list.len();
                        assert_eq!(count, expected, "{warnings}\n{text}");
                        assert!(loaded.config.sites.contains_key("www"));
                    }
                }
            }
        }
    }
}
