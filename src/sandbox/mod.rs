//! Stand-ins for the outside world: the APIs of forges and CDNs on loopback, for `demo` and the tests.
//!
//! Each service checks signatures, parameters, limits and quotas as documented, keeps state, and answers with the
//! documented formats and codes. None of this code knows the clients, so that their mistakes show. Time comes from
//! the [`Clock`] that the sandbox was started with, so a test can let a day pass.

mod account;
mod cdn;
mod diff;
mod exchange;
mod faults;
mod forge;
mod gitea;
mod gitee;
mod github;
mod gitlab;
mod host;
mod huawei;
mod lists;
mod qcloud;
mod repo;
mod server;
mod service;
mod stand_in;
mod tencent;
#[cfg(test)]
mod tests;
mod tree;
mod world;

use std::sync::Arc;

pub use self::account::{Area, Purged, TargetOutcome, Words};
pub use self::cdn::CdnAccount;
pub use self::faults::{Fault, When};
pub use self::forge::{Forge, Repository};
pub use self::host::{Delivery, HookSetup, PostedStatus, TokenRights, WebhookEvent};
pub use self::repo::{Change, ZERO};
pub use self::service::Service;
use self::stand_in::Kind;
pub use self::tree::{EXECUTABLE, FILE, SUBMODULE, SYMLINK};
pub use self::world::Call;
use self::world::World;
use crate::clock::Clock;

/// All simulated services.
const KINDS: &[Kind] = &[
    github::KIND,
    gitlab::KIND,
    gitea::KIND,
    gitee::KIND,
    tencent::CDN,
    tencent::ECDN,
    qcloud::KIND,
    huawei::KIND,
];

/// A running sandbox. Clones share its state; it runs until [`Sandbox::stop`].
#[derive(Clone)]
pub struct Sandbox {
    world: Arc<World>,
    server: actix_web::dev::ServerHandle,
}

impl Sandbox {
    /// Binds a free port of 127.0.0.1 for each service and starts serving on a thread of its own.
    pub async fn start(clock: Clock) -> std::io::Result<Self> {
        let (world, server) = server::start(clock, KINDS)?;
        Ok(Self { world, server })
    }

    /// The forge of a kind (its `kind:` in a rules file), if it is simulated.
    pub fn forge(&self, kind: &str) -> Option<Forge> {
        let service = self.world.forge_of(kind)?;
        Some(self.forge_at(service))
    }

    /// The CDN of a kind (its `kind:` in a rules file), if it is simulated.
    pub fn cdn(&self, kind: &str) -> Option<CdnAccount> {
        let service = self.world.cdn_of(kind)?;
        Some(self.cdn_at(service))
    }

    /// The scripted faults.
    pub fn faults(&self) -> Faults {
        Faults(Arc::clone(&self.world))
    }

    /// Every call so far, in order of arrival.
    pub fn log(&self) -> Vec<Call> {
        self.world.lock().log.clone()
    }

    /// The calls so far of one action of one service.
    pub fn calls(&self, service: Service, action: &str) -> Vec<Call> {
        let mut calls = self.log();
        calls.retain(|call| call.service == service && call.action == action);
        calls
    }

    /// Stops serving; open connections are closed.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }

    fn cdn_at(&self, service: Service) -> CdnAccount {
        CdnAccount {
            world: Arc::clone(&self.world),
            service,
        }
    }

    fn forge_at(&self, service: Service) -> Forge {
        Forge {
            world: Arc::clone(&self.world),
            service,
        }
    }
}

/// The script of faults.
#[derive(Clone)]
pub struct Faults(Arc<World>);

impl Faults {
    /// Adds a fault for calls of `action` (`*` for any) of `service`. Rules apply in the order in which they were
    /// added; the first matching one counts.
    pub fn add(&self, service: Service, action: &str, when: When, fault: Fault) {
        self.0.lock().script.add(service, action, when, fault);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.0.lock().script.clear();
    }

    /// Seeds the randomness of [`When::Chance`]. Default: 1.
    pub fn seed(&self, seed: u64) {
        self.0.lock().script.seed(seed);
    }

    /// How many calls [`When::Times`] rules still wait for.
    pub fn pending(&self) -> u32 {
        self.0.lock().script.pending()
    }
}
