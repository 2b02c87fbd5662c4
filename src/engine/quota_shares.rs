//! Each site's share of an account's daily quota.

use std::collections::BTreeMap;

use super::context::StepContext;
use super::policy::quota::{QuotaLeft, quota_day};
use super::policy::quota_shares::{SiteUse, grants, is_scarce, kept_for_each};
use crate::account::AccountId;
use crate::config::{Config, PurgeMode, Site};
use crate::purge::PurgeKind;
use crate::store::StoreError;

/// The purges of one kind for one CDN of an account.
#[derive(Clone, Copy)]
pub(super) struct CdnQueue<'a> {
    pub account: &'a AccountId,
    pub kind: PurgeKind,
    /// The CDN, by its name under `cdns:`.
    pub cdn: &'a str,
}

/// The current shares of the sites with purges in a queue.
pub(super) struct Shares {
    /// How many targets each site may submit; sites without any are left out.
    pub grants: BTreeMap<String, u64>,
    /// Sites that have used up their share: they wait until more of the quota is free.
    pub spent: Vec<String>,
}

/// The shares of the sites, if a batch of the given size would use quota reserved for other sites. Otherwise none:
/// no share matters then.
pub(super) async fn shares(
    ctx: &StepContext,
    config: &Config,
    queue: CdnQueue<'_>,
    left: QuotaLeft,
    batch: usize,
) -> Result<Option<Shares>, StoreError> {
    let sharing = sharing(config, queue.account, queue.kind).count();
    let kept = kept_for_each(left.total, sharing, ctx.now());
    let batch = u64::try_from(batch).unwrap_or(u64::MAX);
    if !is_scarce(left.today, batch, kept, sharing) {
        return Ok(None);
    }
    let uses = uses(ctx, config, queue).await?;
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

/// How many of the targets left today one site may submit, however many it has.
pub(super) async fn largest_share(
    ctx: &StepContext,
    config: &Config,
    site: &str,
    queue: CdnQueue<'_>,
    left: QuotaLeft,
) -> Result<u64, StoreError> {
    let sharing = sharing(config, queue.account, queue.kind).count();
    if sharing < 2 {
        return Ok(left.today);
    }
    let kept = kept_for_each(left.total, sharing, ctx.now());
    let mut uses = uses(ctx, config, queue).await?;
    uses.entry(site.to_owned()).or_default().waiting = left.today;
    let grants = grants(left.today, kept, &uses);
    Ok(grants.get(site).copied().unwrap_or(0))
}

/// What each site that shares an account's quota has submitted today and has waiting.
async fn uses(
    ctx: &StepContext,
    config: &Config,
    queue: CdnQueue<'_>,
) -> Result<BTreeMap<String, SiteUse>, StoreError> {
    let CdnQueue { account, kind, cdn } = queue;
    let (day, _) = quota_day(ctx.now());
    let mut uses: BTreeMap<String, SiteUse> = sharing(config, account, kind)
        .map(|site| (site.name.clone(), SiteUse::default()))
        .collect();
    // The runs of a site that is no longer configured end, but may still have purges waiting.
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

/// The sites that may submit purges of a kind on an account.
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

/// Any site may purge URLs, and directories if it purges everything.
fn may_ask_for(site: &Site, kind: PurgeKind) -> bool {
    match kind {
        PurgeKind::Url | PurgeKind::Directory => true,
        PurgeKind::Prefetch => {
            let mut rules = site.rules.rules().iter();
            rules.any(|rule| !rule.prefetch.is_empty())
        }
    }
}
