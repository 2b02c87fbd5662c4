//! Asks a forge about a repository: what the token may do, where the branches are, and whether a webhook sends the
//! events that the sites wait for.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::civil::Date;
use url::Url;

use super::finding::Finding;
use super::{clocks, in_time};
use crate::config::{Config, Site, Trigger};
use crate::engine::named_branches;
use crate::event::{RepoPath, SignalKind};
use crate::forge::{EventKind, Forge, ForgeError, LastDelivery, RepoAccess, Right, Webhook};
use crate::numerals::counted;

/// A token that expires within this many days is worth a note.
const ENDS_SOON: i32 = 14;

/// A repository of a forge, with the sites that follow it.
pub struct Repository<'c> {
    /// The forge's entry.
    pub forge: &'c str,
    /// The repository.
    pub repo: &'c RepoPath,
    /// At least one.
    pub sites: Vec<&'c Site>,
}

/// Asks the forge about a repository.
pub async fn check(config: &Config, of: &Repository<'_>, today: Date) -> Vec<Finding> {
    let Some(forge) = config.forges.get(of.forge) else {
        return Vec::new();
    };
    let subject = format!("{} {}", of.forge, of.repo);
    let branches: BTreeSet<&str> = of
        .sites
        .iter()
        .filter(|site| follows_branches(site))
        .flat_map(|site| named_branches(site))
        .collect();
    let branches: Vec<&str> = branches.into_iter().collect();
    let access = match in_time(forge.repo_access(of.repo, &branches)).await {
        Some(Ok(access)) => access,
        // All other requests would fail in the same way.
        Some(Err(error)) => return vec![refused(&subject, &error)],
        None => return vec![silent(&subject)],
    };
    let mut findings = of_access(&subject, &access, today);
    for branch in branches {
        findings.push(match in_time(forge.branch_head(of.repo, branch)).await {
            Some(Ok(commit)) => Finding::ok(
                &subject,
                format!("the branch {branch} is at {}", commit.short()),
            ),
            Some(Err(ForgeError::Gone(why))) => Finding::wrong(
                &subject,
                format!("the branch {branch} is not there: {why}"),
                "check `branches:` of the site, and that the token may read the repository's contents",
            ),
            Some(Err(error)) => refused(&subject, &error),
            None => silent(&subject),
        });
    }
    for environment in of.sites.iter().filter_map(|site| environment(site)) {
        findings.push(of_environment(&subject, forge.as_ref(), of.repo, environment).await);
    }
    findings.extend(of_webhooks(config, of, forge.as_ref(), &subject).await);
    findings.extend(
        forge
            .clock_skew()
            .map(|skew| clocks::finding(&subject, skew)),
    );
    findings
}

/// Whether a site's runs depend on its branches.
fn follows_branches(site: &Site) -> bool {
    match &site.trigger {
        Trigger::Push | Trigger::Workflow(_) | Trigger::Pipeline(_) | Trigger::PageBuild => true,
        Trigger::Deployment(_) | Trigger::Release => false,
    }
}

fn environment(site: &Site) -> Option<&str> {
    match &site.trigger {
        Trigger::Deployment(environment) => Some(environment),
        Trigger::Push
        | Trigger::Workflow(_)
        | Trigger::Pipeline(_)
        | Trigger::Release
        | Trigger::PageBuild => None,
    }
}

async fn of_environment(
    subject: &str,
    forge: &dyn Forge,
    repo: &RepoPath,
    environment: &str,
) -> Finding {
    match in_time(forge.environment_head(repo, environment)).await {
        Some(Ok(Some(commit))) => Finding::ok(
            subject,
            format!("the environment {environment} runs {}", commit.short()),
        ),
        Some(Ok(None)) => Finding::note(
            subject,
            format!("nothing was deployed with success to the environment {environment} so far"),
        ),
        Some(Err(error)) => refused(subject, &error),
        None => silent(subject),
    }
}

fn of_access(subject: &str, access: &RepoAccess, today: Date) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &access.read {
        Right::Granted => findings.push(Finding::ok(subject, "the repository can be read")),
        right => findings.push(of_right(subject, right, "")),
    }
    findings.push(of_right(
        subject,
        &access.post_statuses,
        "statuses may be posted on its commits",
    ));
    if let Some(day) = access.expires_on {
        let left = today.until(day).map(|span| span.get_days()).unwrap_or(0);
        if left <= ENDS_SOON {
            findings.push(Finding::note(
                subject,
                format!("the token ends on {day}: make a new one before then"),
            ));
        }
    }
    findings
}

fn of_right(subject: &str, right: &Right, granted: &str) -> Finding {
    match right {
        Right::Granted => Finding::ok(subject, granted),
        Right::Missing { why, advice } => Finding::wrong(subject, why, advice),
        Right::Untold(why) => Finding::note(subject, why),
    }
}

async fn of_webhooks(
    config: &Config,
    of: &Repository<'_>,
    forge: &dyn Forge,
    subject: &str,
) -> Vec<Finding> {
    let Some(address) = config.server.hook_address(of.forge) else {
        return vec![Finding::note(
            subject,
            "`server.public_url` is not set, so it is not known which webhook to look for",
        )];
    };
    let mut wanted: Vec<EventKind> = Vec::new();
    for site in &of.sites {
        let event = site.trigger.waits_for();
        let event = event.map_or(EventKind::Push, EventKind::Signal);
        if !wanted.contains(&event) {
            wanted.push(event);
        }
    }
    match in_time(forge.webhooks(of.repo, &address)).await {
        Some(Ok(webhooks)) => vec![of_webhook(subject, &webhooks, &address, &wanted)],
        Some(Err(error @ ForgeError::Later { .. })) => vec![refused(subject, &error)],
        Some(Err(
            error @ (ForgeError::Gone(_) | ForgeError::Refused(_) | ForgeError::Denied { .. }),
        )) => vec![Finding::note(
            subject,
            format!("the token may not see the webhooks, so look at them yourself: {error}"),
        )],
        None => vec![silent(subject)],
    }
}

/// The findings about the webhooks that call an address.
fn of_webhook(subject: &str, webhooks: &[Webhook], address: &Url, wanted: &[EventKind]) -> Finding {
    let ours: Vec<&Webhook> = webhooks.iter().filter(|hook| hook.calls(address)).collect();
    if ours.is_empty() {
        let mut message = format!("no webhook calls {address}");
        if let Some(near) = webhooks.iter().find_map(|hook| near(hook, address)) {
            let _ = write!(message, "; one calls {near}");
        } else if !webhooks.is_empty() {
            let others = counted(webhooks.len(), "other webhook", "other webhooks");
            let _ = write!(message, "; the repository has {others}");
        }
        return Finding::wrong(
            subject,
            message,
            "add a webhook with that address, or mend `server.public_url`; \
             a webhook of an organisation or a group is not seen here",
        );
    }
    let active: Vec<&&Webhook> = ours.iter().filter(|hook| hook.is_active).collect();
    let Some(first) = active.first() else {
        return Finding::wrong(
            subject,
            format!("the webhook that calls {address} is switched off"),
            "switch it on at the forge; GitLab does so after a test that is answered",
        );
    };
    if active.iter().any(|hook| hook.has_secret == Some(false)) {
        return Finding::wrong(
            subject,
            format!("the webhook that calls {address} has no secret: its deliveries get 401"),
            "give it the secret that the rules file has",
        );
    }
    let lacking: Vec<&str> = wanted
        .iter()
        .filter(|event| !active.iter().any(|hook| hook.events.contains(event)))
        .map(|event| words(*event))
        .collect();
    if !lacking.is_empty() {
        return Finding::wrong(
            subject,
            format!(
                "the webhook that calls {address} does not tell of {}",
                lacking.join(" and ")
            ),
            "choose these events on the webhook's page",
        );
    }
    let found = format!("a webhook calls {address}");
    match &first.last_delivery {
        LastDelivery::Untold => Finding::ok(subject, found),
        LastDelivery::None => {
            Finding::ok(subject, format!("{found}; nothing was sent to it so far"))
        }
        LastDelivery::Answered(status) if (200..300).contains(status) => Finding::ok(
            subject,
            format!("{found}; its last delivery was answered {status}"),
        ),
        LastDelivery::Answered(status) => Finding::wrong(
            subject,
            format!("{found}, and its last delivery was answered {status}"),
            match status {
                401 => "give both sides the same secret, and redeliver it from the webhook's page",
                404 => {
                    "check the last word of the address, which names the entry under `forges:`, and what a proxy \
                        forwards; then redeliver it from the webhook's page"
                }
                _ => {
                    "the answer stands on the webhook's page; redeliver it from there once that is mended"
                }
            },
        ),
        LastDelivery::Unanswered(why) => Finding::wrong(
            subject,
            match why.is_empty() {
                true => format!("{found}, and its last delivery got no answer"),
                false => format!("{found}, and its last delivery got no answer: {why}"),
            },
            "check that the address can be reached from the forge, and redeliver it from the webhook's page",
        ),
    }
}

/// The address of a webhook that may have been meant for us. Other addresses may contain secrets.
fn near(hook: &Webhook, address: &Url) -> Option<String> {
    let url = hook.url.as_ref()?;
    let name = address.path_segments()?.next_back()?;
    let ends = url
        .path()
        .trim_end_matches('/')
        .ends_with(&format!("/hooks/{name}"));
    ends.then(|| format!("{}{}", url.origin().ascii_serialization(), url.path()))
}

fn words(event: EventKind) -> &'static str {
    match event {
        EventKind::Push => "pushes",
        EventKind::Signal(SignalKind::Deployment) => "deployments",
        EventKind::Signal(SignalKind::Workflow) => "workflows",
        EventKind::Signal(SignalKind::Pipeline) => "pipelines",
        EventKind::Signal(SignalKind::Release) => "releases",
        EventKind::Signal(SignalKind::PageBuild) => "builds of pages",
        EventKind::Nothing => "anything",
    }
}

fn refused(subject: &str, error: &ForgeError) -> Finding {
    let advice = match error {
        ForgeError::Later {
            retry_after: Some(_),
            ..
        } => "try again later",
        ForgeError::Later { .. } => {
            "try again; if it stays so, check `api_url:`, and that this machine may reach it"
        }
        // These errors contain advice.
        ForgeError::Gone(_) | ForgeError::Refused(_) | ForgeError::Denied { .. } => "",
    };
    Finding::wrong(subject, error.to_string(), advice)
}

fn silent(subject: &str) -> Finding {
    Finding::wrong(
        subject,
        "the forge's API did not answer in time",
        "check `api_url:`, and that this machine may reach it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::online::finding::Verdict;

    fn hook(url: &str) -> Webhook {
        Webhook {
            url: Url::parse(url).ok(),
            is_active: true,
            events: vec![EventKind::Push],
            has_secret: Some(true),
            last_delivery: LastDelivery::Answered(202),
        }
    }

    fn judged(webhooks: &[Webhook], wanted: &[EventKind]) -> Finding {
        let address = Url::parse("https://purge.example.com/hooks/github").unwrap();
        of_webhook("github a/b", webhooks, &address, wanted)
    }

    #[test]
    fn a_webhook_is_good_that_calls_the_address_with_what_is_waited_for() {
        let ours = hook("https://purge.example.com/hooks/github/?note=1");
        let deployments = EventKind::Signal(SignalKind::Deployment);
        let mut of_deployments = ours.clone();
        of_deployments.events = vec![deployments];

        assert_eq!(
            judged(std::slice::from_ref(&ours), &[EventKind::Push]).verdict,
            Verdict::Ok
        );
        let both = [EventKind::Push, deployments];
        let lacking = judged(std::slice::from_ref(&ours), &both);
        assert_eq!(lacking.verdict, Verdict::Wrong);
        assert!(
            lacking.message.ends_with("does not tell of deployments"),
            "{lacking:?}"
        );
        // Each may send some of the events.
        assert_eq!(judged(&[ours, of_deployments], &both).verdict, Verdict::Ok);
    }

    #[test]
    fn what_is_wrong_with_a_webhook_is_said() {
        let ours = hook("https://purge.example.com/hooks/github");
        let with = |change: fn(&mut Webhook)| {
            let mut hook = ours.clone();
            change(&mut hook);
            judged(&[hook], &[EventKind::Push])
        };
        for (finding, words) in [
            (with(|hook| hook.is_active = false), "is switched off"),
            (with(|hook| hook.has_secret = Some(false)), "has no secret"),
            (
                with(|hook| hook.last_delivery = LastDelivery::Answered(401)),
                "was answered 401",
            ),
            (
                with(|hook| hook.last_delivery = LastDelivery::Unanswered("timed out".to_owned())),
                "got no answer: timed out",
            ),
        ] {
            assert_eq!(finding.verdict, Verdict::Wrong, "{finding:?}");
            assert!(finding.message.contains(words), "{finding:?}");
            assert!(finding.advice.is_some(), "{finding:?}");
        }
    }

    #[test]
    fn of_other_webhooks_only_an_address_like_ours_is_shown() {
        let other = hook("https://chat.example.com/services/T00/secret");
        let moved = hook("https://user:secret@old.example.com/hooks/github?token=secret");

        let finding = judged(std::slice::from_ref(&other), &[EventKind::Push]);
        assert!(
            finding
                .message
                .ends_with("the repository has 1 other webhook"),
            "{finding:?}"
        );
        let finding = judged(&[other, moved], &[EventKind::Push]);
        let words = "no webhook calls https://purge.example.com/hooks/github; \
                     one calls https://old.example.com/hooks/github";
        assert_eq!(finding.message, words);
    }
}
