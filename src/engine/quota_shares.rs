//! What each site on an account may have of the day's quota, as far as the others leave it.

use std::collections::BTreeMap;

use super::context::StepContext;
use super::policy::quota::{QuotaLeft, quota_day};
use super::policy::quota_shares::{SiteUse, grants, is_scarce, kept_for_each};
use crate::account::AccountId;
use crate::config::{Config, PurgeMode, Site};
use crate::purge::PurgeKind;
use crate::store::StoreError;

/// A line of purges: those of one kind for one CDN of an account.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub account: &'a AccountId,
    pub kind: PurgeKind,
    /// The CDN, by its name under `cdns:`.
    pub cdn: &'a str,
}

/// What the sites with something in a line may have now.
pub(super) struct Shares {
    /// How many targets each may be sent, where it is any.
    pub grants: BTreeMap<String, u64>,
    /// Those that have had theirs: they wait until others have left what is kept for them.
    pub spent: Vec<String>,
}

/// What each site may have, where a batch of so many targets would take what is kept for others. None where
/// no share is at stake.
pub(super) async fn shares(
    ctx: &StepContext,
    config: &Config,
    line: Line<'_>,
    left: QuotaLeft,
    batch: usize,
) -> Result<Option<Shares>, StoreError> {
    let sharing = sharing(config, line.account, line.kind).count();
    let kept = kept_for_each(left.total, sharing, ctx.now());
    let batch = u64::try_from(batch).unwrap_or(u64::MAX);
    if !is_scarce(left.today, batch, kept, sharing) {
        return Ok(None);
    }
    let uses = uses(ctx, config, line).await?;
    let waiting: Vec<String> = uses
        .iter()
        .filter(|(_, site)| site.waiting > 0)
        .map(|(name, _)| name.clone())
        .collect();
    let mut grants = grants(left.today, kept, &uses);
    grants.retain(|_, grant| *grant > 0);
    let spent = waiting.into_iter();
    let spent = spent.filter(|name| !grants.contains_key(name)).collect();
    Ok(Some(Shares { grants, spent }))
}

/// How many of the targets that are left today a site may have, however many it asks for.
pub(super) async fn largest_share(
    ctx: &StepContext,
    config: &Config,
    site: &str,
    line: Line<'_>,
    left: QuotaLeft,
) -> Result<u64, StoreError> {
    let sharing = sharing(config, line.account, line.kind).count();
    if sharing < 2 {
        return Ok(left.today);
    }
    let kept = kept_for_each(left.total, sharing, ctx.now());
    let mut uses = uses(ctx, config, line).await?;
    uses.entry(site.to_owned()).or_default().waiting = left.today;
    let grants = grants(left.today, kept, &uses);
    Ok(grants.get(site).copied().unwrap_or(0))
}

/// What each site that shares an account's quota has had of it today, and has waiting in a line.
async fn uses(
    ctx: &StepContext,
    config: &Config,
    line: Line<'_>,
) -> Result<BTreeMap<String, SiteUse>, StoreError> {
    let Line { account, kind, cdn } = line;
    let (day, _) = quota_day(ctx.now());
    let mut uses: BTreeMap<String, SiteUse> = sharing(config, account, kind)
        .map(|site| (site.name.clone(), SiteUse::default()))
        .collect();
    // A site that is no longer configured has its runs ended, and may have something waiting until then.
    for (site, waiting) in ctx.store.planned_by_site(account, kind, cdn).await? {
        uses.entry(site).or_default().waiting = waiting;
    }
    for (site, taken) in ctx.store.submitted_by_site(account, kind, day).await? {
        if let Some(site) = uses.get_mut(&site) {
            site.taken = taken;
        }
    }
    Ok(uses)
}

/// The sites that may ask an account for purges of a kind.
fn sharing<'c>(
    config: &'c Config,
    account: &'c AccountId,
    kind: PurgeKind,
) -> impl Iterator<Item = &'c Site> {
    config.sites.values().filter(move |site| {
        let PurgeMode::Live(cdns) = &site.mode else {
            return false;
        };
        let takes = cdns
            .values()
            .any(|cdn| cdn.account() == *account && cdn.limits().kinds.contains_key(&kind));
        takes && may_ask_for(site, kind)
    })
}

/// Any site may come to purge URLs, and a directory if it is all of it.
fn may_ask_for(site: &Site, kind: PurgeKind) -> bool {
    match kind {
        PurgeKind::Url | PurgeKind::Directory => true,
        PurgeKind::Prefetch => {
            let mut rules = site.rules.rules().iter();
            rules.any(|rule| !rule.prefetch.is_empty())
        }
    }
}
