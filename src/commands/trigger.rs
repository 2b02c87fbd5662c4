//! `purgehook trigger`: tests the path from a forge's webhook to a site, with a delivery that starts nothing.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use url::Url;

use super::options::ListenOption;
use super::{load, loopback, sites};
use crate::clock::Clock;
use crate::config::{Site, Trigger};
use crate::engine::{named_branches, only_branch};
use crate::forge::{SampleDelivery, SampleEvent};
use crate::http::{Outbound, read_answer};
use crate::sanitize::visible;

/// How long the server may take: forges wait ten seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The relevant part of the server's response.
#[derive(Deserialize)]
struct Answer {
    outcome: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    sites: Vec<String>,
}

/// Sends the delivery to the running server at `url`, or where it listens by this configuration, and shows the
/// response; exit code 1 if a real delivery would not start a run of the site.
pub async fn run(
    rules: &Path,
    options: &ListenOption,
    site: &str,
    branch: Option<&str>,
    url: Option<Url>,
) -> anyhow::Result<ExitCode> {
    let config = load(rules, &options.into())?;
    let site = *sites(&config, Some(site))?
        .first()
        .context("there is no site")?;
    let forge = config
        .forges
        .get(&site.forge)
        .with_context(|| format!("no forge is configured as {:?}", site.forge))?;
    let event = event(site, branch)?;
    let id = Clock::system().new_id();
    let delivery = forge.sample(&site.repo, event, &id).with_context(|| {
        format!(
            "the forge `{}` has nothing to send for {}",
            site.forge, site.trigger
        )
    })?;
    // Requests to a server on this machine use no proxy; others go the same way as those of forges and browsers.
    let (base, outbound) = match url {
        Some(url) => (
            url.as_str().trim_end_matches('/').to_owned(),
            Outbound::new(Clock::system())?,
        ),
        None => (
            format!("http://{}", loopback(&config.server.listen)),
            Outbound::direct(Clock::system())?,
        ),
    };
    let address = format!("{base}/hooks/{}", site.forge);
    println!("sent to {address}: {}", words(site, event));
    let (status, body) = send(&outbound, &address, delivery)
        .await
        .map_err(|why| anyhow!("no answer from {address}: {}", config.redactor.redact(&why)))?;
    let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
        bail!(
            "{address} answered {status}, and not as purgehook does: is something else there, or a proxy that does \
             not pass this on?"
        );
    };
    let shown = [&answer.why, &answer.error];
    let shown: String = shown.into_iter().map(String::as_str).collect();
    println!(
        "answered {status} {}: {}",
        visible(&answer.outcome),
        visible(&shown)
    );
    if answer.sites.contains(&site.name) {
        println!(
            "{} is reached: a delivery like this one that brings something new starts a run of it",
            site.name
        );
        return Ok(ExitCode::SUCCESS);
    }
    match status {
        401 => println!(
            "the server has another secret for `{}` than this rules file",
            site.forge
        ),
        404 => println!("the server has no forge `{}` in its rules file", site.forge),
        200 if !answer.sites.is_empty() => println!(
            "it would be for {}, and not for {}: does the server have this rules file?",
            visible(&answer.sites.join(", ")),
            site.name
        ),
        _ => println!("{} would not be triggered", site.name),
    }
    Ok(ExitCode::FAILURE)
}

/// The event that the site waits for.
fn event<'a>(site: &'a Site, branch: Option<&'a str>) -> anyhow::Result<SampleEvent<'a>> {
    let chosen = branch
        .or_else(|| only_branch(site))
        .or_else(|| named_branches(site).next());
    let branch =
        || chosen.context("the site names its branches by patterns only; name one with --branch");
    Ok(match &site.trigger {
        Trigger::Push => SampleEvent::Push { branch: branch()? },
        Trigger::Deployment(environment) => SampleEvent::Deployment {
            environment,
            branch: chosen.unwrap_or("main"),
        },
        Trigger::Workflow(file) => SampleEvent::Workflow {
            file,
            branch: branch()?,
        },
        Trigger::Pipeline(status) => SampleEvent::Pipeline {
            status,
            branch: branch()?,
        },
        Trigger::Release => SampleEvent::Release,
        Trigger::PageBuild => SampleEvent::PageBuild,
    })
}

fn words(site: &Site, event: SampleEvent<'_>) -> String {
    let repo = &site.repo;
    match event {
        SampleEvent::Push { branch } => {
            format!("a push that leaves {branch} of {repo} where it is")
        }
        SampleEvent::Deployment { environment, .. } => {
            format!("a deployment of no commit of {repo} to {environment}")
        }
        SampleEvent::Workflow { file, branch } => {
            format!("a success of the workflow {file} for no commit of {branch} of {repo}")
        }
        SampleEvent::Pipeline { status, branch } => {
            format!("a pipeline of {repo} that ended with {status} for no commit of {branch}")
        }
        SampleEvent::Release => format!("a release of {repo} of no commit"),
        SampleEvent::PageBuild => format!("a build of pages of {repo} of no commit"),
    }
}

/// The HTTP status and the body of the response, or why there is none.
async fn send(
    outbound: &Outbound,
    address: &str,
    delivery: SampleDelivery,
) -> Result<(u16, Vec<u8>), String> {
    let mut request = outbound.http.post(address).timeout(ANSWER_LIMIT);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    let answer = request.body(delivery.body).send().await;
    let answer = answer.map_err(|error| crate::http::why(error).0)?;
    let status = answer.status().as_u16();
    let body = read_answer(answer)
        .await
        .map_err(|error| error.to_string())?;
    Ok((status, body))
}
