//! `purgehook check --online`: asks each forge and CDN for anything that would stop purgehook from working, before
//! the first push. Sends only read requests, a few at a time, each with a time limit.

mod cdns;
mod clocks;
mod finding;
mod forges;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::tz::TimeZone;

pub use self::finding::{Finding, Verdict};
use self::forges::Repository;
use crate::clock::Clock;
use crate::config::Config;
use crate::numerals::counted;
use crate::purge::PurgeKind;

/// Repositories and CDNs that are checked at a time.
const AT_A_TIME: usize = 4;
/// How long a check may take, however many requests it needs.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

type Question<'c> = Pin<Box<dyn Future<Output = Vec<Finding>> + 'c>>;

/// Checks all forges and CDNs of the configuration; returns the findings in the file's order.
pub async fn check(config: &Config, clock: &Clock) -> Vec<Finding> {
    let today = TimeZone::UTC.to_datetime(clock.now()).date();
    let repositories = repositories(config);
    let mut questions: Vec<Question<'_>> = Vec::new();
    for repository in &repositories {
        questions.push(Box::pin(forges::check(config, repository, today)));
    }
    for (name, cdn) in &config.cdns {
        let kinds = kinds(config, name);
        questions.push(Box::pin(async move {
            cdns::check(name, cdn.as_ref(), &kinds, clock).await
        }));
    }
    let answers: Vec<Vec<Finding>> = stream::iter(questions).buffered(AT_A_TIME).collect().await;
    // Redact everything that was quoted.
    let redact = |finding: Finding| Finding {
        message: config.redactor.redact(&finding.message).into_owned(),
        ..finding
    };
    answers.into_iter().flatten().map(redact).collect()
}

/// The last line, with the number of each verdict.
pub fn summary(findings: &[Finding]) -> String {
    let count = |verdict: Verdict| {
        let of_it = findings.iter().filter(|finding| finding.verdict == verdict);
        of_it.count()
    };
    format!(
        "{} ok, {}, {} wrong",
        count(Verdict::Ok),
        counted(count(Verdict::Note), "note", "notes"),
        count(Verdict::Wrong)
    )
}

/// The distinct repositories with their sites: forges ignore case in repository names.
fn repositories(config: &Config) -> Vec<Repository<'_>> {
    let mut found: BTreeMap<(&str, String), Repository<'_>> = BTreeMap::new();
    for site in config.sites.values() {
        let key = (site.forge.as_str(), site.repo.as_str().to_ascii_lowercase());
        let repository = found.entry(key).or_insert_with(|| Repository {
            forge: &site.forge,
            repo: &site.repo,
            sites: Vec::new(),
        });
        repository.sites.push(site);
    }
    found.into_values().collect()
}

/// The kinds of purges whose history purgehook reads on a CDN: prefetches have a separate history, which is not
/// always used.
fn kinds(config: &Config, cdn: &str) -> Vec<PurgeKind> {
    let prefetches = config
        .sites
        .values()
        .filter(|site| site.cdns.iter().any(|name| name == cdn))
        .flat_map(|site| site.rules.rules())
        .any(|rule| !rule.prefetch.is_empty());
    let can = |kind: &PurgeKind| {
        let cdn = config.cdns.get(cdn);
        cdn.is_some_and(|cdn| cdn.limits().kinds.contains_key(kind))
    };
    let kinds = [(PurgeKind::Url, true), (PurgeKind::Prefetch, prefetches)];
    let used = kinds.into_iter().filter(|(_, used)| *used);
    used.map(|(kind, _)| kind).filter(can).collect()
}

/// The result, unless it takes too long.
async fn in_time<T>(question: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(ANSWER_LIMIT, question).await.ok()
}
