//! Decides which sites an event starts runs for, or why it starts none.

use crate::config::{Config, Site, Trigger};
use crate::event::{Deployed, Event, GitRef, Push, RepoPath, Signal, is_zero_id};
use crate::forge::EventKind;
use crate::rules::Glob;

/// The sites that need a run, at least one; or the reason why none does, for the forge's delivery log.
pub type Decision<'a> = Result<Vec<&'a Site>, String>;

/// The branches that a site names without a pattern. Only for these can a forge be asked for the head.
pub fn named_branches(site: &Site) -> impl Iterator<Item = &str> {
    let globs = site.branches.iter().map(Glob::text);
    globs.filter(|glob| !glob.contains(['*', '?', '[', '{']))
}

/// A site's only branch, if it names exactly one without a pattern.
pub fn only_branch(site: &Site) -> Option<&str> {
    let mut named = named_branches(site);
    match (named.next(), named.next()) {
        (Some(branch), None) => Some(branch),
        _ => None,
    }
}

/// The sites that a push starts runs for.
pub fn for_push<'a>(config: &'a Config, forge: &str, push: &Push) -> Decision<'a> {
    let sites = of_repo(config, forge, &push.repo)?;
    let branch = match &push.git_ref {
        GitRef::Branch(branch) => branch,
        GitRef::Tag(tag) => {
            return Err(format!(
                "the push of the tag {tag} triggers nothing: sites follow branches"
            ));
        }
        GitRef::Other(other) => return Err(format!("the ref {other} is not a branch")),
    };
    if push.commit.is_none() {
        return Err(format!(
            "the branch {branch} was deleted: nothing new is served from it"
        ));
    }
    let waiting = waiting_for(&sites, "a push", |trigger| *trigger == Trigger::Push)?;
    following(&waiting, &push.repo, branch)
}

/// Why an event starts nothing although sites wait for events of its kind; none if it starts something.
pub fn starts_nothing(event: &Event) -> Option<String> {
    match event {
        Event::Push(push) if push.before.is_some() && push.before == push.after => Some(format!(
            "the push moves {} nowhere: before and after are the same commit",
            push.git_ref.name()
        )),
        Event::Deployed(deployed) if is_zero_id(deployed.commit.as_str()) => {
            Some(format!("{} names no commit", deployed.signal))
        }
        Event::Push(_) | Event::Deployed(_) | Event::Ping | Event::Other { .. } => None,
    }
}

/// The sites that a deployment event starts runs for.
///
/// A deployment or a release means that the site has changed. A workflow, a pipeline or a Pages build means that
/// only on the site's branches.
pub fn for_deployed<'a>(config: &'a Config, forge: &str, deployed: &Deployed) -> Decision<'a> {
    let sites = of_repo(config, forge, &deployed.repo)?;
    let signal = &deployed.signal;
    let any_case = config.ignores_case_of_environments(forge);
    let waiting = waiting_for(&sites, &signal.to_string(), |trigger| {
        fits(trigger, signal, any_case)
    })?;
    match signal {
        Signal::Deployment { .. } | Signal::Release { .. } => Ok(waiting),
        Signal::Workflow { .. } | Signal::Pipeline { .. } | Signal::PageBuild => {
            match &deployed.git_ref {
                None => Ok(waiting),
                Some(GitRef::Branch(branch)) => following(&waiting, &deployed.repo, branch),
                Some(GitRef::Tag(tag)) => Err(format!(
                    "{signal} was for the tag {tag}: sites follow branches"
                )),
                Some(GitRef::Other(other)) => {
                    Err(format!("{signal} was for {other}, which is not a branch"))
                }
            }
        }
    }
}

/// Whether any site waits for events of a kind, from the given repository or, if that is unknown, from any.
pub fn any_waits_for(
    config: &Config,
    forge: &str,
    kind: EventKind,
    repo: Option<&RepoPath>,
) -> bool {
    let fits = |trigger: &Trigger| match kind {
        EventKind::Push => *trigger == Trigger::Push,
        EventKind::Signal(signal) => trigger.waits_for() == Some(signal),
        EventKind::Nothing => false,
    };
    let mut sites = config.sites.values().filter(|site| site.forge == forge);
    sites.any(|site| fits(&site.trigger) && repo.is_none_or(|repo| site.repo.same_as(repo)))
}

/// Whether a trigger waits for this signal. With `any_case`, environment names are compared without regard to case.
fn fits(trigger: &Trigger, signal: &Signal, any_case: bool) -> bool {
    match (trigger, signal) {
        (Trigger::Deployment(wanted), Signal::Deployment { environment }) if any_case => {
            wanted.to_lowercase() == environment.to_lowercase()
        }
        (Trigger::Deployment(wanted), Signal::Deployment { environment }) => wanted == environment,
        // The trigger may contain the file's directory, as GitHub shows it.
        (Trigger::Workflow(wanted), Signal::Workflow { file }) => {
            wanted.rsplit('/').next() == Some(file)
        }
        (Trigger::Pipeline(wanted), Signal::Pipeline { status }) => wanted == status,
        (Trigger::Release, Signal::Release { .. }) => true,
        (Trigger::PageBuild, Signal::PageBuild) => true,
        (
            Trigger::Push
            | Trigger::Deployment(_)
            | Trigger::Workflow(_)
            | Trigger::Pipeline(_)
            | Trigger::Release
            | Trigger::PageBuild,
            _,
        ) => false,
    }
}

fn of_repo<'a>(config: &'a Config, forge: &str, repo: &RepoPath) -> Decision<'a> {
    let sites: Vec<_> = config
        .sites
        .values()
        .filter(|site| site.forge == forge && site.repo.same_as(repo))
        .collect();
    if sites.is_empty() {
        return Err(format!("no site is configured for {forge}:{repo}"));
    }
    Ok(sites)
}

fn waiting_for<'a>(
    sites: &[&'a Site],
    what: &str,
    fits: impl Fn(&Trigger) -> bool,
) -> Decision<'a> {
    let (waiting, others): (Vec<_>, Vec<_>) = sites.iter().partition(|site| fits(&site.trigger));
    if waiting.is_empty() {
        let others = list(&others, |site| {
            format!("{} waits for `{}`", site.name, site.trigger)
        });
        return Err(format!("{what} triggers nothing here: {others}"));
    }
    Ok(waiting)
}

fn following<'a>(sites: &[&'a Site], repo: &RepoPath, branch: &str) -> Decision<'a> {
    let (following, others): (Vec<_>, Vec<_>) = sites.iter().partition(|site| {
        let mut globs = site.branches.iter();
        globs.any(|glob| glob.is_match(branch.as_bytes()))
    });
    if following.is_empty() {
        let others = list(&others, |site| {
            let globs: Vec<_> = site.branches.iter().map(|glob| glob.text()).collect();
            format!("{} follows {}", site.name, globs.join(", "))
        });
        return Err(format!(
            "no site of {repo} follows the branch {branch}: {others}"
        ));
    }
    Ok(following)
}

fn list(sites: &[&Site], say: impl Fn(&Site) -> String) -> String {
    let said: Vec<_> = sites.iter().map(|site| say(site)).collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::ChangeSet;
    use crate::clock::Clock;
    use crate::config::{ALL_KINDS, Loaded, read};
    use crate::event::{CommitId, CommitRef};
    use crate::http::Outbound;
    use crate::settings::Environment;

    /// One site of `acme/website` for each kind of trigger, all on GitHub except `pipeline`.
    fn config() -> Config {
        let mut text = "
forges:
  github: {kind: github, secrets: [s], token: t}
  gitlab: {kind: gitlab, secrets: [s], token: t}
cdns:
  tencent: {kind: tencent-cdn, secret_id: i, secret_key: k}
sites:
"
        .to_owned();
        for (name, forge, branches, trigger) in [
            ("push", "github", "[main, 'release/*']", "push"),
            ("deployment", "github", "[main]", "{deployment: production}"),
            (
                "workflow",
                "github",
                "[main]",
                "{workflow: .github/workflows/deploy.yml}",
            ),
            ("release", "github", "[main]", "release"),
            ("pages", "github", "[main]", "page_build"),
            ("pipeline", "gitlab", "[main]", "{pipeline: success}"),
        ] {
            text.push_str(&format!(
                "  {name}:
    repo: {forge}:acme/website
    branches: {branches}
    trigger: {trigger}
    base_urls: [https://{name}.example.com]
    cdns: [tencent]
    rules: [{{match: ['**'], urls: ['/{{path}}']}}]
"
            ));
        }
        let outbound = Outbound::new(Clock::system()).unwrap();
        let Loaded { config, .. } = read(
            "rules.yaml",
            &text,
            Environment::of([]),
            &outbound,
            ALL_KINDS,
        )
        .unwrap_or_else(|problems| panic!("{problems}"));
        config
    }

    fn repo(path: &str) -> RepoPath {
        RepoPath::parse(path).unwrap()
    }

    fn names(decision: Decision) -> Vec<String> {
        let sites = decision.unwrap();
        sites.iter().map(|site| site.name.clone()).collect()
    }

    fn reason(decision: Decision) -> String {
        match decision {
            Ok(_) => panic!("{:?}", names(decision)),
            Err(why) => why,
        }
    }

    fn push(git_ref: &str) -> Push {
        let id = CommitId::parse(&"1".repeat(40));
        Push {
            repo: repo("acme/website"),
            repo_id: None,
            git_ref: GitRef::parse(git_ref),
            before: None,
            after: id.clone(),
            commit: id,
            forced: false,
            listed: ChangeSet::unknown("nothing is listed"),
        }
    }

    fn deployed(signal: Signal, git_ref: Option<&str>) -> Deployed {
        Deployed {
            repo: repo("acme/website"),
            repo_id: None,
            signal,
            id: "1".to_owned(),
            git_ref: git_ref.map(GitRef::parse),
            commit: CommitRef::Unresolved("v1".to_owned()),
        }
    }

    fn workflow(file: &str) -> Signal {
        Signal::Workflow {
            file: file.to_owned(),
        }
    }

    fn deployment(environment: &str) -> Signal {
        Signal::Deployment {
            environment: environment.to_owned(),
        }
    }

    #[test]
    fn a_push_starts_the_sites_waiting_for_one_and_no_others() {
        let config = config();

        assert_eq!(
            names(for_push(&config, "github", &push("refs/heads/main"))),
            ["push"]
        );
        assert_eq!(
            names(for_push(&config, "github", &push("refs/heads/release/7"))),
            ["push"]
        );
    }

    #[test]
    fn a_repositorys_case_does_not_matter() {
        let mut push = push("refs/heads/main");
        push.repo = repo("Acme/WebSite");

        assert_eq!(names(for_push(&config(), "github", &push)), ["push"]);
    }

    #[test]
    fn what_moves_nothing_is_matched_like_all_else_and_starts_nothing() {
        let config = config();
        let mut nowhere = push("refs/heads/main");
        assert_eq!(starts_nothing(&Event::Push(nowhere.clone())), None);
        nowhere.before = nowhere.after.clone();

        let sites = for_push(&config, "github", &nowhere).unwrap();

        assert_eq!(sites[0].name, "push");
        assert_eq!(
            starts_nothing(&Event::Push(nowhere)).unwrap(),
            "the push moves main nowhere: before and after are the same commit"
        );
    }

    #[test]
    fn a_push_that_starts_nothing_says_why() {
        let config = config();
        let mut gone = push("refs/heads/main");
        gone.commit = None;
        let mut elsewhere = push("refs/heads/main");
        elsewhere.repo = repo("acme/other");
        for (forge, push, why) in [
            (
                "github",
                push("refs/heads/next"),
                "no site of acme/website follows the branch next: push follows main, release/*",
            ),
            (
                "github",
                push("refs/tags/v1"),
                "the push of the tag v1 triggers nothing: sites follow branches",
            ),
            (
                "github",
                push("refs/notes/x"),
                "the ref refs/notes/x is not a branch",
            ),
            (
                "github",
                gone,
                "the branch main was deleted: nothing new is served from it",
            ),
            (
                "github",
                elsewhere,
                "no site is configured for github:acme/other",
            ),
            (
                "gitlab",
                push("refs/heads/main"),
                "a push triggers nothing here: pipeline waits for `{pipeline: success}`",
            ),
        ] {
            assert_eq!(reason(for_push(&config, forge, &push)), why);
        }
    }

    #[test]
    fn each_signal_starts_the_sites_waiting_for_it() {
        let config = config();
        let release = Signal::Release {
            tag: "v1".to_owned(),
        };
        let pipeline = Signal::Pipeline {
            status: "success".to_owned(),
        };
        for (forge, signal, git_ref, site) in [
            ("github", deployment("production"), None, "deployment"),
            // GitHub treats both names as one environment.
            ("github", deployment("Production"), None, "deployment"),
            // The deployed commit counts more than the branch that it came from.
            (
                "github",
                deployment("production"),
                Some("refs/heads/next"),
                "deployment",
            ),
            ("github", release, None, "release"),
            (
                "github",
                workflow("deploy.yml"),
                Some("refs/heads/main"),
                "workflow",
            ),
            ("github", workflow("deploy.yml"), None, "workflow"),
            ("github", Signal::PageBuild, None, "pages"),
            ("gitlab", pipeline, Some("refs/heads/main"), "pipeline"),
        ] {
            let deployed = deployed(signal, git_ref);

            assert_eq!(names(for_deployed(&config, forge, &deployed)), [site]);
        }
    }

    #[test]
    fn a_signal_that_starts_nothing_says_what_came_and_what_is_waited_for() {
        let config = config();
        let why = |forge: &str, signal, git_ref| {
            reason(for_deployed(&config, forge, &deployed(signal, git_ref)))
        };

        let staging = why("github", deployment("staging"), None);
        assert!(staging.starts_with("the deployment to `staging` triggers nothing here: "));
        assert!(staging.contains("deployment waits for `{deployment: production}`"));
        assert!(staging.contains("push waits for `push`"));
        assert_eq!(
            why("github", workflow("deploy.yml"), Some("refs/heads/next")),
            "no site of acme/website follows the branch next: workflow follows main"
        );
        assert_eq!(
            why("github", workflow("deploy.yml"), Some("refs/tags/v1")),
            "the success of the workflow `deploy.yml` was for the tag v1: sites follow branches"
        );
        let failed = Signal::Pipeline {
            status: "failed".to_owned(),
        };
        assert_eq!(
            why("gitlab", failed, Some("refs/heads/main")),
            "the pipeline that ended with `failed` triggers nothing here: pipeline waits for `{pipeline: success}`"
        );
        let other_forge = why("other", Signal::PageBuild, None);
        assert_eq!(other_forge, "no site is configured for other:acme/website");
    }
}
