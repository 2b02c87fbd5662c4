//! One guard around each upstream, that is, each forge and each CDN account: circuit breaker, rate limit and daily
//! quota.
//!
//! Only the handles from [`Upstreams`] can send a request. Their methods wait as long as necessary, and record the
//! result of the request.

mod breaker;
mod cdn;
mod denials;
mod forge;
mod quota;
mod rate;

use std::sync::Arc;

use jiff::Timestamp;

pub use breaker::{Rejection, RequestError};
pub use cdn::CdnHandle;
pub use forge::ForgeHandle;

use crate::account::AccountId;
use crate::clock::Clock;
use crate::config::Config;
use crate::forge::Denial;
use crate::store::{OpenCircuit, RepoKey, RepoRequest, Store, StoreError, Upstream};

/// The guards of all upstreams.
pub struct Upstreams {
    store: Arc<Store>,
    breaker: breaker::CircuitBreaker,
    rates: rate::RateLimits,
    quotas: quota::QuotaCache,
    pub denials: denials::Denials,
}

impl Upstreams {
    /// Guards whose state is shared by all processes on a store.
    pub fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self {
            breaker: breaker::CircuitBreaker::new(Arc::clone(&store), clock.clone()),
            denials: denials::Denials::new(Arc::clone(&store), clock.clone()),
            rates: rate::RateLimits::new(Arc::clone(&store), clock.clone()),
            quotas: quota::QuotaCache::new(Arc::clone(&store), clock),
            store,
        }
    }

    /// A forge, by its name under `forges:`; none if it is no longer configured.
    pub fn forge<'a>(&'a self, config: &'a Config, name: &'a str) -> Option<ForgeHandle<'a>> {
        let forge = config.forges.get(name)?.as_ref();
        Some(ForgeHandle::new(name, forge, &self.breaker, &self.denials))
    }

    /// A CDN, by its name under `cdns:`, under an account's limits; none if it is no longer configured.
    pub fn cdn<'a>(
        &'a self,
        config: &'a Config,
        name: &str,
        account: &'a AccountId,
    ) -> Option<CdnHandle<'a>> {
        let cdn = config.cdns.get(name)?.as_ref();
        Some(CdnHandle::new(self, cdn, account))
    }

    /// Discards what an account said about its quota: it proved wrong, or a new day began.
    pub fn forget_quota(&self, account: &AccountId) {
        self.quotas.forget(account);
    }

    /// All circuits that are open or have failures counted.
    pub async fn circuits(&self) -> Result<Vec<OpenCircuit>, StoreError> {
        self.store.circuits().await
    }

    /// The upstreams whose circuits are open.
    pub async fn unavailable(
        &self,
        config: &Config,
    ) -> Result<Vec<UnavailableUpstream>, StoreError> {
        let circuits = self.circuits().await?;
        let unavailable = circuits.into_iter().filter_map(|circuit| {
            Some(UnavailableUpstream {
                name: name(config, &circuit.upstream)?,
                cdns: match &circuit.upstream {
                    Upstream::Forge(_) => Vec::new(),
                    Upstream::Cdn(account) => cdns_of(config, account),
                },
                since: circuit.since,
                until: circuit.until?,
                error: circuit.error,
            })
        });
        Ok(unavailable.collect())
    }
}

impl Upstreams {
    /// The denials for the repositories of sites, in the order of the sites.
    pub async fn denied_sites(&self, config: &Config) -> Result<Vec<DeniedSite>, StoreError> {
        let denied = self.denials.all().await?;
        let of_site = config.sites.values().flat_map(|site| {
            let key = RepoKey::new(&site.forge, &site.repo);
            let of_repo = denied.iter().filter(move |denied| denied.key == key);
            of_repo.map(|denied| DeniedSite {
                site: site.name.clone(),
                forge: site.forge.clone(),
                repo: site.repo.to_string(),
                access: denied.access,
                denial: denied.denial,
                since: denied.since,
                error: denied.error.clone(),
            })
        });
        Ok(of_site.collect())
    }
}

/// A forge's denial for a site's repository, which lasts until a person changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedSite {
    /// The site, by its name under `sites:`.
    pub site: String,
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The repository, as the site names it.
    pub repo: String,
    /// What is denied.
    pub access: RepoRequest,
    /// What has to be changed.
    pub denial: Denial,
    /// When the first request was denied.
    pub since: Timestamp,
    /// The forge's first error, and what to do.
    pub error: String,
}

impl DeniedSite {
    /// "github denies to read the commits of acme/website".
    pub fn sentence(&self) -> String {
        let (forge, repo) = (&self.forge, &self.repo);
        format!(
            "{forge} denies requests to {} of {repo}",
            denials::in_words(self.access)
        )
    }
}

/// An upstream whose circuit is open, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnavailableUpstream {
    /// "the forge github", or "the CDN main", or "the CDNs main, small, which are one account".
    pub name: String,
    /// The names of its CDNs under `cdns:`; empty for a forge.
    pub cdns: Vec<String>,
    /// When it stopped answering.
    pub since: Timestamp,
    /// When it is tried next.
    pub until: Timestamp,
    /// The last error.
    pub error: String,
}

/// The upstream's name in the configuration; none if it is no longer there.
fn name(config: &Config, upstream: &Upstream) -> Option<String> {
    match upstream {
        Upstream::Forge(name) => config
            .forges
            .contains_key(name)
            .then(|| format!("the forge {name}")),
        Upstream::Cdn(account) => match cdns_of(config, account).as_slice() {
            [] => None,
            [name] => Some(format!("the CDN {name}")),
            names => Some(format!(
                "the CDNs {}, which are one account",
                names.join(", ")
            )),
        },
    }
}

/// The names of the CDNs configured with an account.
fn cdns_of(config: &Config, account: &AccountId) -> Vec<String> {
    let cdns = config.cdns.iter();
    let of_account = cdns.filter(|(_, cdn)| cdn.account() == *account);
    of_account.map(|(name, _)| name.clone()).collect()
}

/// "GitHub has not answered since 12:04 UTC". Does not change while the outage lasts.
pub fn has_not_answered(name: &str, since: Timestamp) -> String {
    format!(
        "{name} has not answered since {}",
        since.strftime("%H:%M UTC")
    )
}
