//! The handle to a simulated CDN for tests and the demo: its address, what it accepted, and how it should behave.

use std::sync::Arc;
use std::time::Duration;

use super::account::{Account, Allowance, Area, Domain, Purged, TargetOutcome, Words};
use super::faults::When;
use super::service::Service;
use super::world::World;
use crate::purge::PurgeKind;

/// A simulated CDN, from the customer's and the operator's side.
#[derive(Clone)]
pub struct CdnAccount {
    pub(super) world: Arc<World>,
    pub(super) service: Service,
}

impl CdnAccount {
    /// The service's name in faults and the record of calls.
    pub fn service(&self) -> Service {
        self.service
    }

    /// The address of its API, for `endpoint:`.
    pub fn url(&self) -> String {
        self.world.address(self.service)
    }

    /// The public half of the key pair.
    pub fn secret_id(&self) -> &'static str {
        self.world.cdn(self.service, |cdn| cdn.keys().id)
    }

    /// The secret half of the key pair.
    pub fn secret_key(&self) -> &'static str {
        self.world.cdn(self.service, |cdn| cdn.keys().secret)
    }

    /// The entry under `cdns:` of a rules file that uses this account, without its `kind:`.
    pub fn rules_entry(&self) -> String {
        let names = self.world.cdn(self.service, |cdn| cdn.keys().names);
        format!(
            "{}: {}\n{}: {}\nendpoint: {}\n",
            names[0],
            self.secret_id(),
            names[1],
            self.secret_key(),
            self.url()
        )
    }

    /// Adds a domain to the account. Purges for other hosts are refused.
    pub fn add_domain(&self, host: &str, area: Area) {
        let online = true;
        self.with(|account| {
            account
                .domains
                .insert(host.to_owned(), Domain { area, online })
        });
    }

    /// Enables or disables a domain.
    pub fn set_online(&self, host: &str, online: bool) {
        self.with(|account| {
            if let Some(domain) = account.domains.get_mut(host) {
                domain.online = online;
            }
        });
    }

    /// Sets how long targets take in tasks accepted from now on. Default: two seconds.
    pub fn set_duration(&self, duration: Duration) {
        self.with(|account| account.duration = duration);
    }

    /// Sets the result of targets whose URL contains `part`, for tasks accepted from now on. The first matching
    /// rule counts; [`When::Times`] counts targets.
    pub fn set_outcome(&self, part: &str, when: When, outcome: TargetOutcome) {
        self.with(|account| account.told(part, when, outcome));
    }

    /// Sets the limits of targets per request and per day (and area).
    pub fn set_allowance(&self, kind: PurgeKind, per_request: usize, per_day: usize) {
        let allowance = Allowance {
            per_request,
            per_day,
        };
        self.with(|account| account.allowances.insert(kind, allowance));
    }

    /// Sets the spelling of states.
    pub fn set_words(&self, words: Words) {
        self.with(|account| account.words = words);
    }

    /// Sets how long after its acceptance a task appears in lists. Default: at once.
    pub fn set_listed_after(&self, delay: Duration) {
        self.with(|account| account.listed_after = delay);
    }

    /// Sets the maximum number of entries per page, whatever was requested. Default: 100.
    pub fn set_page_cap(&self, cap: usize) {
        self.with(|account| account.page_cap = cap);
    }

    /// Sets the service's clock ahead of the sandbox's (or behind it).
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.with(|account| account.ahead = seconds);
    }

    /// Requires a session token with the keys.
    pub fn set_session_token(&self, token: Option<&str>) {
        self.with(|account| account.token = token.map(str::to_owned));
    }

    /// Makes the service answer that the account has moved: ECDN to CDN, CDN to EdgeOne.
    pub fn set_migrated(&self, migrated: bool) {
        self.with(|account| account.migrated = migrated);
    }

    /// All targets accepted so far, in order.
    pub fn purged(&self) -> Vec<Purged> {
        let now = self.world.now();
        self.with(|account| {
            let mut all = Vec::new();
            for task in &account.tasks {
                all.extend(task.targets.iter().map(|target| Purged {
                    kind: task.kind,
                    target: target.url.clone(),
                    mode: task.mode,
                    area: task.area,
                    task: task.id.clone(),
                    at: task.at,
                    ended: target.ended(now),
                }));
            }
            all
        })
    }

    /// The URLs of one kind accepted so far, sorted.
    pub fn purged_urls(&self, kind: PurgeKind) -> Vec<String> {
        let all = self.purged().into_iter();
        let mut urls: Vec<String> = all
            .filter(|purged| purged.kind == kind)
            .map(|purged| purged.target)
            .collect();
        urls.sort();
        urls
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Account) -> T) -> T {
        self.world.cdn(self.service, |cdn| use_it(cdn.account()))
    }
}
