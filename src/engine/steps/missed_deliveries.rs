//! Deliveries that were lost, out of the forge's own log of what it sent.
//!
//! Comparing branches with what is known finds pushes, but no forge can be asked
//! which workflows, releases or builds came to an end meanwhile. Where the token may
//! read the log of the site's webhook, what that webhook should have told is taken in
//! from there, as if it had arrived: by the same path, once, by id and by meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};
use url::Url;

use crate::config::{Config, Site};
use crate::engine::receive::Came;
use crate::engine::{Engine, ReceiveError, Received, StepError};
use crate::event::{Event, RepoPath};
use crate::forge::{DeliveryLog, Forge, ForgeError, LoggedDelivery};
use crate::store::{Source, Upstream};

/// How far back GitHub's log goes ("Redelivering webhooks"). Nothing older is looked for anywhere.
const FAR_BACK: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// What was sent this recently may still be on its way here, or in the hands of another replica.
const YOUNG: Duration = Duration::from_secs(60);
/// How far what is read anew reaches back into what was read before: a line's time is
/// that of the sending, and it is written after the answer.
const OVERLAP: Duration = Duration::from_secs(10 * 60);
/// How long a log that may not be read is left alone.
const REFUSED: Duration = Duration::from_secs(60 * 60);
/// Deliveries that are remembered as of no interest here.
const MOST_LOOKED_AT: usize = 20_000;

/// What is known of the logs. It only saves requests and repeated words in purgehook's own log.
#[derive(Default)]
pub(in crate::engine) struct Logs(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By forge and repository: up to when the log was read.
    read: BTreeMap<(String, String), Timestamp>,
    /// By forge and repository: logs that may not be read, and when to try again.
    refused: BTreeMap<(String, String), Timestamp>,
    /// By forge: ids of deliveries that ask for nothing here.
    looked_at: BTreeSet<(String, String)>,
    /// Forges of which it was said that no address is known.
    without_address: BTreeSet<String>,
}

impl Logs {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Takes in what the webhook of a site's repository should have brought and did not.
    /// A forge that cannot be asked is no failure: it will be asked again.
    pub(in crate::engine) async fn take_missed(
        &self,
        config: &Config,
        site: &Site,
        is_new: bool,
    ) -> Result<(), StepError> {
        let Some(forge) = config.forges.get(&site.forge) else {
            return Ok(());
        };
        let Some(hook) = hook_address(config.server.public_url.as_ref(), &site.forge) else {
            if self.logs.known().without_address.insert(site.forge.clone()) {
                debug!(
                    forge = site.forge,
                    "`server.public_url` is not set, so it is not known which webhook is ours"
                );
            }
            return Ok(());
        };
        let key = (site.forge.clone(), site.repo.as_str().to_ascii_lowercase());
        let now = self.clock.now();
        let since = {
            let known = self.logs.known();
            if known.refused.get(&key).is_some_and(|until| now < *until) {
                return Ok(());
            }
            let read = known.read.get(&key).copied();
            if read.is_some_and(|read| now < read + YOUNG) {
                // Another site of this repository has just seen to it.
                return Ok(());
            }
            read.map_or(now - FAR_BACK, |read| (read - OVERLAP).max(now - FAR_BACK))
        };
        let upstream = Upstream::Forge(site.forge.clone());
        self.may_ask(&upstream).await?;
        let log = forge.delivery_log(&site.repo, &hook, since);
        let log = match self.heard(&upstream, log).await {
            Ok(Some(log)) => log,
            Ok(None) => return Ok(()),
            Err(error @ ForgeError::Later { .. }) => {
                warn!(
                    site = site.name,
                    "cannot read what was sent to the webhook: {error}"
                );
                return Ok(());
            }
            Err(error @ (ForgeError::Gone(_) | ForgeError::Refused(_))) => {
                if self
                    .logs
                    .known()
                    .refused
                    .insert(key, now + REFUSED)
                    .is_none()
                {
                    info!(
                        site = site.name,
                        "lost deliveries of {} are not looked for in the forge's log, \
                         since the token may not read it: {error}",
                        site.repo
                    );
                }
                return Ok(());
            }
        };
        let missed = self.missed(&site.forge, &log, is_new, now).await?;
        let mut all_well = true;
        for delivery in missed {
            let of_repo = (!log.of_all).then_some(&site.repo);
            let forge = forge.as_ref();
            all_well &= self
                .take_from_log(config, site, forge, &delivery, of_repo)
                .await?;
        }
        if all_well {
            // What is too young to be taken is looked at once more.
            self.logs.known().read.insert(key, now);
        }
        Ok(())
    }

    /// The deliveries of a log that were to come here and did not, oldest first.
    async fn missed(
        &self,
        forge: &str,
        log: &DeliveryLog,
        is_new: bool,
        now: Timestamp,
    ) -> Result<Vec<LoggedDelivery>, StepError> {
        let candidates = candidates(log, is_new, now);
        let ids: Vec<&str> = candidates.iter().map(|line| line.id.as_str()).collect();
        let stored = self.store.known_deliveries(forge, &ids).await?;
        let known = self.logs.known();
        Ok(candidates
            .into_iter()
            .filter(|line| !stored.contains(&line.id))
            .filter(|line| {
                !known
                    .looked_at
                    .contains(&(forge.to_owned(), line.id.clone()))
            })
            .cloned()
            .collect())
    }

    /// Takes in one delivery of the log. False if it is to be tried again.
    async fn take_from_log(
        &self,
        config: &Config,
        site: &Site,
        forge: &dyn Forge,
        delivery: &LoggedDelivery,
        of_repo: Option<&RepoPath>,
    ) -> Result<bool, StepError> {
        let upstream = Upstream::Forge(site.forge.clone());
        self.may_ask(&upstream).await?;
        let sent = forge.logged_delivery(&site.repo, delivery);
        let sent = match self.heard(&upstream, sent).await {
            Ok(Some(sent)) => sent,
            Ok(None) | Err(ForgeError::Gone(_)) => {
                warn!(
                    site = site.name,
                    "the delivery {} was lost, and the forge's log does not say what it said",
                    delivery.id
                );
                self.look_no_more(&site.forge, delivery);
                return Ok(true);
            }
            Err(error) => {
                warn!(
                    site = site.name,
                    "cannot read the lost delivery {}: {error}", delivery.id
                );
                return Ok(false);
            }
        };
        let event = forge.understand(&sent.verified, sent.content_type, &sent.body);
        let event = match event {
            Ok(event) if is_of(&event, of_repo) => event,
            Ok(_) => {
                self.look_no_more(&site.forge, delivery);
                return Ok(true);
            }
            Err(error) => {
                warn!(
                    site = site.name,
                    "the lost delivery {} makes no sense: {error}", delivery.id
                );
                self.look_no_more(&site.forge, delivery);
                return Ok(true);
            }
        };
        let came = Came {
            verified: sent.verified,
            content_type: sent.content_type,
            body: sent.body,
            source: Source::Log,
            sent_at: delivery.sent_at,
        };
        match self.take_in(config, &site.forge, &event, came).await {
            Ok(Received::Accepted { runs, .. }) => {
                warn!(
                    site = site.name,
                    "the delivery {} of {} (`{}`) was lost and is taken from the forge's log: {} runs",
                    delivery.id,
                    delivery.sent_at,
                    delivery.event,
                    runs.len()
                );
                self.look_no_more(&site.forge, delivery);
                Ok(true)
            }
            Ok(Received::Duplicate { .. } | Received::Pong | Received::Ignored { .. }) => {
                self.look_no_more(&site.forge, delivery);
                Ok(true)
            }
            Err(ReceiveError::Store(error)) => Err(error.into()),
            Err(error) => {
                warn!(
                    site = site.name,
                    "the lost delivery {} cannot be taken in: {error}", delivery.id
                );
                Ok(false)
            }
        }
    }

    fn look_no_more(&self, forge: &str, delivery: &LoggedDelivery) {
        let mut known = self.logs.known();
        if known.looked_at.len() >= MOST_LOOKED_AT {
            known.looked_at.clear();
        }
        known
            .looked_at
            .insert((forge.to_owned(), delivery.id.clone()));
    }
}

/// Where the webhook of a forge's entry goes, as whoever made it was told.
fn hook_address(public_url: Option<&Url>, forge: &str) -> Option<Url> {
    let base = public_url?.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}/hooks/{forge}")).ok()
}

/// Whether an event is of the repository whose log told of it, where it is one repository's log.
fn is_of(event: &Event, repo: Option<&RepoPath>) -> bool {
    let of = match event {
        Event::Push(push) => Some(&push.repo),
        Event::Deployed(deployed) => Some(&deployed.repo),
        Event::Other { repo, .. } => repo.as_ref(),
        Event::Ping => None,
    };
    match (of, repo) {
        (Some(of), Some(repo)) => of.same_as(repo),
        (_, None) | (None, Some(_)) => true,
    }
}

/// The deliveries of a log, oldest first and each once, that purgehook has not answered for good.
///
/// It answers 202 to what it keeps, and any other 2xx to what asks for nothing. So one
/// that was answered 202 and is not kept is lost nevertheless, with a former database;
/// only a site that is new here has nothing to do with that.
fn candidates(log: &DeliveryLog, is_new: bool, now: Timestamp) -> Vec<&LoggedDelivery> {
    let mut by_id: BTreeMap<&str, Vec<&LoggedDelivery>> = BTreeMap::new();
    for line in &log.deliveries {
        by_id.entry(&line.id).or_default().push(line);
    }
    let mut candidates: Vec<&LoggedDelivery> = by_id
        .into_values()
        .filter(|lines| {
            let answers = || lines.iter().filter_map(|line| line.answered);
            let kept = answers().any(|status| status == 202);
            let settled = answers().any(|status| (200..300).contains(&status) && status != 202);
            let is_young = lines.iter().any(|line| now < line.sent_at + YOUNG);
            !(is_young || settled || kept && is_new)
        })
        .filter_map(|lines| lines.into_iter().min_by_key(|line| line.sent_at))
        .collect();
    candidates.sort_by_key(|line| line.sent_at);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_795_305_600 + 60 * minute).unwrap()
    }

    fn line(id: &str, minute: i64, answered: Option<u16>) -> LoggedDelivery {
        LoggedDelivery {
            place: format!("repository/1/{minute}"),
            id: id.to_owned(),
            event: "push".to_owned(),
            sent_at: at(minute),
            answered,
        }
    }

    fn ids(lines: Vec<LoggedDelivery>, is_new: bool) -> Vec<String> {
        let log = DeliveryLog {
            of_all: false,
            deliveries: lines,
        };
        let found = candidates(&log, is_new, at(60));
        found.iter().map(|line| line.id.clone()).collect()
    }

    #[test]
    fn what_was_never_answered_well_is_taken_in_the_order_in_which_it_was_sent() {
        let lines = vec![
            line("late", 50, None),
            line("refused", 40, Some(401)),
            line("down", 30, Some(502)),
        ];

        assert_eq!(ids(lines, false), ["down", "refused", "late"]);
    }

    #[test]
    fn what_was_answered_in_the_end_is_not_taken_again() {
        let lines = vec![
            line("again", 40, Some(200)),
            line("again", 30, Some(502)),
            line("ignored", 20, Some(200)),
        ];

        assert!(ids(lines, false).is_empty());
    }

    #[test]
    fn what_may_still_be_on_its_way_is_left_to_the_next_look() {
        assert!(ids(vec![line("young", 60, None)], false).is_empty());
    }

    #[test]
    fn what_a_former_database_kept_is_taken_unless_the_site_is_new() {
        let lines = || vec![line("kept", 30, Some(202))];

        assert_eq!(ids(lines(), false), ["kept"]);
        assert!(ids(lines(), true).is_empty());
    }

    #[test]
    fn the_webhook_is_known_by_its_address() {
        let address = |base: &str| {
            let base = Url::parse(base).unwrap();
            hook_address(Some(&base), "github").unwrap().to_string()
        };

        assert_eq!(
            address("https://p.example/"),
            "https://p.example/hooks/github"
        );
        assert_eq!(
            address("https://p.example/at"),
            "https://p.example/at/hooks/github"
        );
        assert_eq!(hook_address(None, "github"), None);
    }
}
