//! Accepts lost deliveries from the forge's own delivery log.
//!
//! Reconciliation finds lost pushes, but a forge cannot be asked which workflows, releases or builds have ended
//! since. If the token may read the delivery log of the site's webhook, missing deliveries are taken from it and
//! handled as if they had arrived: on the same path, and once, by id and by content.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use crate::config::{Config, Site};
use crate::engine::context::StepContext;
use crate::engine::delivery_logs::LogKey;
use crate::engine::outcome::StepError;
use crate::engine::receive::{self, IncomingBody, IncomingDelivery, ReceiveError, Received};
use crate::engine::upstream::{ForgeHandle, RequestError};
use crate::event::{Event, RepoPath};
use crate::forge::{DeliveryLog, ForgeError, LoggedDelivery, SentDelivery};
use crate::store::Source;

/// How far back GitHub's log goes ("Redelivering webhooks"). Older deliveries are never looked for.
const LOG_AGE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// A younger delivery may still be on its way, or be handled by another replica.
const DELIVERY_DELAY: Duration = Duration::from_secs(60);
/// How far each reading of a log overlaps the one before: an entry has the time of sending, but is written after
/// the answer.
const LOG_OVERLAP: Duration = Duration::from_secs(10 * 60);
/// How long to wait before requesting a log again that the token may not read.
const FORBIDDEN_LOG_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Accepts the deliveries that a site's webhook should have brought and did not. If the forge cannot be asked, this
/// is no failure: the next reconciliation asks again.
pub async fn accept(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    forge: &ForgeHandle<'_>,
    is_new: bool,
) -> Result<(), StepError> {
    let Some(hook) = config.server.hook_address(forge.name) else {
        if ctx.delivery_logs.lacks_address(forge.name) {
            debug!(
                "`server.public_url` is not set, so it is not known which webhook of {} is ours",
                forge.name
            );
        }
        return Ok(());
    };
    let key = (site.forge.clone(), site.repo.as_str().to_ascii_lowercase());
    let now = ctx.now();
    let Some(since) = read_since(ctx, &key, now) else {
        return Ok(());
    };
    let log = match forge.delivery_log(&site.repo, &hook, since).await {
        Ok(Some(log)) => log,
        Ok(None) => return Ok(()),
        Err(error) => {
            note_unreadable(ctx, site, key, error.failed()?, now);
            return Ok(());
        }
    };
    let mut all_well = true;
    for delivery in missed(ctx, forge.name, &log, is_new, now).await? {
        let of_repo = (!log.of_all).then_some(&site.repo);
        all_well &= accept_one(ctx, config, site, forge, &delivery, of_repo).await?;
    }
    if all_well {
        // Deliveries that are too young will be examined again.
        ctx.delivery_logs.note_read(key, now);
    }
    Ok(())
}

/// The time from which to read a log; none if the token may not read it, or if it was just read.
fn read_since(ctx: &StepContext, key: &LogKey, now: Timestamp) -> Option<Timestamp> {
    if ctx.delivery_logs.is_forbidden(key, now) {
        return None;
    }
    match ctx.delivery_logs.read_until(key) {
        // Read for another site of this repository.
        Some(read) if now < read + DELIVERY_DELAY => None,
        Some(read) => Some((read - LOG_OVERLAP).max(now - LOG_AGE)),
        None => Some(now - LOG_AGE),
    }
}

fn note_unreadable(ctx: &StepContext, site: &Site, key: LogKey, error: ForgeError, now: Timestamp) {
    match error {
        ForgeError::Later { .. } => warn!("cannot read the webhook's delivery log: {error}"),
        ForgeError::Gone(_) | ForgeError::Refused(_) | ForgeError::Denied { .. } => {
            if ctx.delivery_logs.forbid(key, now + FORBIDDEN_LOG_INTERVAL) {
                info!(
                    "lost deliveries of {} are not looked for in the forge's log, \
                     since the token may not read it: {error}",
                    site.repo
                );
            }
        }
    }
}

/// The deliveries in a log that never arrived, oldest first.
async fn missed(
    ctx: &StepContext,
    forge: &str,
    log: &DeliveryLog,
    is_new: bool,
    now: Timestamp,
) -> Result<Vec<LoggedDelivery>, StepError> {
    let candidates = candidates(log, is_new, now);
    let ids: Vec<&str> = candidates.iter().map(|line| line.id.as_str()).collect();
    let stored = ctx.store.known_deliveries(forge, &ids).await?;
    Ok(candidates
        .into_iter()
        .filter(|line| !stored.contains(&line.id))
        .filter(|line| !ctx.delivery_logs.is_seen(forge, &line.id))
        .cloned()
        .collect())
}

/// Accepts one delivery of the log. False if it must be tried again.
async fn accept_one(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    forge: &ForgeHandle<'_>,
    delivery: &LoggedDelivery,
    of_repo: Option<&RepoPath>,
) -> Result<bool, StepError> {
    let id = &delivery.id;
    let sent = match forge.logged_delivery(&site.repo, delivery).await {
        Ok(Some(sent)) => sent,
        Ok(None) | Err(RequestError::Failed(ForgeError::Gone(_))) => {
            warn!("the delivery {id} was lost, and the forge's log does not contain its payload");
            ctx.delivery_logs.note_seen(forge.name, id);
            return Ok(true);
        }
        Err(error) => {
            let error = error.failed()?;
            warn!("cannot read the lost delivery {id}: {error}");
            return Ok(false);
        }
    };
    match forge.understand(&sent.verified, sent.content_type, &sent.body) {
        Ok(event) if is_of(&event, of_repo) => {
            let is_settled = receive_lost(ctx, config, forge.name, delivery, &event, sent).await?;
            if !is_settled {
                return Ok(false);
            }
        }
        Ok(_) => {}
        Err(error) => warn!("the lost delivery {id} is not as documented: {error}"),
    }
    ctx.delivery_logs.note_seen(forge.name, id);
    Ok(true)
}

/// Receives a lost delivery as if it had arrived. False if it must be tried again.
async fn receive_lost(
    ctx: &StepContext,
    config: &Config,
    forge: &str,
    delivery: &LoggedDelivery,
    event: &Event,
    sent: SentDelivery,
) -> Result<bool, StepError> {
    let incoming = IncomingDelivery {
        verified: sent.verified,
        content_type: sent.content_type,
        body: IncomingBody::Whole(sent.body.into()),
        source: Source::Log,
        sent_at: delivery.sent_at,
    };
    match receive::accept(ctx, config, forge, event, incoming).await {
        Ok(Received::Accepted { runs, .. }) => {
            warn!(
                "the delivery {} of {} (`{}`) was lost and was read from the forge's log: {} runs",
                delivery.id,
                delivery.sent_at,
                delivery.event,
                runs.len()
            );
            Ok(true)
        }
        Ok(Received::Duplicate { .. } | Received::Pong | Received::Ignored { .. }) => Ok(true),
        Err(ReceiveError::Store(error)) => Err(error.into()),
        Err(error) => {
            warn!(
                "the lost delivery {} cannot be accepted: {error}",
                delivery.id
            );
            Ok(false)
        }
    }
}

/// Whether an event belongs to the repository whose log contains it; always, if the log covers several
/// repositories.
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

/// The distinct deliveries of a log to which purgehook never gave a final answer, oldest first.
///
/// It answers 202 to a delivery that it stores, and another 2xx to one that needs no run. So a delivery that was
/// answered 202 but is not stored was lost with an earlier database. Only a new site ignores such deliveries.
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
            let is_young = lines.iter().any(|line| now < line.sent_at + DELIVERY_DELAY);
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
}
