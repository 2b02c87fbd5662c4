//! The stand-in for the outside world: the APIs of forges and CDNs on loopback, for `demo` and the tests.
//!
//! Each service checks signatures, parameters, limits and quotas as its documents
//! say, keeps state, and answers with the documented shapes and codes. None of it
//! knows the clients: what they get wrong must show here. Time comes from the
//! [`Clock`] it was started with, so a test can let a day pass.

mod account;
mod cdn;
mod diff;
mod exchange;
mod faults;
mod forge;
mod front;
mod gitea;
mod gitee;
mod github;
mod gitlab;
mod huawei;
mod lists;
mod qcloud;
mod repo;
mod tencent;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

pub use self::account::{Area, Fate, Purged, Words};
pub use self::cdn::CdnAccount;
pub use self::faults::{Fault, Often};
pub use self::forge::{Delivery, Forge, Happening, PostedStatus, Repository};
pub use self::repo::{Change, ZERO};
pub use self::tree::{EXECUTABLE, FILE, SUBMODULE, SYMLINK};
use crate::clock::Clock;

/// A service of the outside world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// GitHub's REST API.
    GitHub,
    /// GitLab's API, version 4.
    GitLab,
    /// Gitea's (or Forgejo's) API, version 1.
    Gitea,
    /// Gitee's API, version 5.
    Gitee,
    /// Tencent Cloud CDN, API 3.0, version 2018-06-06.
    TencentCdn,
    /// Tencent Cloud ECDN, API 3.0, version 2019-10-12.
    TencentEcdn,
    /// QCloud API v2.
    QCloud,
    /// Huawei Cloud CDN, API v1.0.
    HuaweiCdn,
}

impl Service {
    /// Every service.
    pub const ALL: [Service; 8] = [
        Self::GitHub,
        Self::GitLab,
        Self::Gitea,
        Self::Gitee,
        Self::TencentCdn,
        Self::TencentEcdn,
        Self::QCloud,
        Self::HuaweiCdn,
    ];
}

/// A call that came in, and what came of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whom it was meant for.
    pub service: Service,
    /// What it asked for, as rules of misbehaviour name it: `PurgeUrlsCache`, `POST statuses`.
    pub action: String,
    /// When it came.
    pub at: Timestamp,
    /// Method, address and (where short) body. Never credentials.
    pub summary: String,
    /// The HTTP status; 0 where no answer went out.
    pub status: u16,
    /// `ok`, or the service's error.
    pub outcome: String,
    /// The misbehaviour that was applied.
    pub fault: Option<Fault>,
}

/// The running stand-in. Clones share the world; it ends with [`Sandbox::stop`].
#[derive(Clone)]
pub struct Sandbox {
    world: Arc<World>,
    server: actix_web::dev::ServerHandle,
}

impl Sandbox {
    /// Binds a free port of 127.0.0.1 for each service and starts to answer, on one thread of its own.
    pub async fn start(clock: Clock) -> std::io::Result<Self> {
        let (world, server) = front::start(clock)?;
        Ok(Self { world, server })
    }

    /// GitHub, API version 2022-11-28.
    pub fn github(&self) -> Forge {
        self.forge(Service::GitHub)
    }

    /// GitLab, API version 4.
    pub fn gitlab(&self) -> Forge {
        self.forge(Service::GitLab)
    }

    /// Gitea, or Forgejo after [`Sandbox::play_forgejo`].
    pub fn gitea(&self) -> Forge {
        self.forge(Service::Gitea)
    }

    /// Gitee.
    pub fn gitee(&self) -> Forge {
        self.forge(Service::Gitee)
    }

    /// Tencent Cloud CDN, API 2018-06-06.
    pub fn tencent_cdn(&self) -> CdnAccount {
        self.cdn(Service::TencentCdn)
    }

    /// Tencent Cloud ECDN, API 2019-10-12.
    pub fn tencent_ecdn(&self) -> CdnAccount {
        self.cdn(Service::TencentEcdn)
    }

    /// QCloud API v2.
    pub fn qcloud(&self) -> CdnAccount {
        self.cdn(Service::QCloud)
    }

    /// Huawei Cloud CDN.
    pub fn huawei_cdn(&self) -> CdnAccount {
        self.cdn(Service::HuaweiCdn)
    }

    /// What goes wrong, by script.
    pub fn faults(&self) -> Faults {
        Faults(Arc::clone(&self.world))
    }

    /// Every call so far, in order of arrival.
    pub fn log(&self) -> Vec<Call> {
        self.world.lock().log.clone()
    }

    /// The calls so far to one service that asked for one action.
    pub fn calls(&self, service: Service, action: &str) -> Vec<Call> {
        let mut calls = self.log();
        calls.retain(|call| call.service == service && call.action == action);
        calls
    }

    /// Shows only a part of GitHub's recursive trees, as if 100,000 entries were `limit`.
    pub fn limit_github_trees(&self, limit: usize) {
        self.world.lock().github.tree_limit = limit;
    }

    /// Takes any number of requests and writes at GitHub, whose limits are far below what a test of a storm sends.
    pub fn lift_github_limits(&self) {
        let mut world = self.world.lock();
        world.github.hourly = u32::MAX;
        world.github.writes_a_minute = usize::MAX;
    }

    /// Lists only so many files in GitLab's comparisons, as if 1,000 were `limit`.
    pub fn limit_gitlab_diffs(&self, limit: usize) {
        self.world.lock().gitlab.diff_limit = limit;
    }

    /// Lists only so many entries on a page of Gitea's trees, as if 1,000 were `limit`.
    pub fn limit_gitea_trees(&self, limit: usize) {
        self.world.lock().gitea.tree_page = limit;
    }

    /// Gitea sends its webhooks as forms rather than JSON.
    pub fn send_gitea_forms(&self, forms: bool) {
        self.world.lock().gitea.forms = forms;
    }

    /// Gitea is Forgejo, which adds headers of its own.
    pub fn play_forgejo(&self, forgejo: bool) {
        self.world.lock().gitea.forgejo = forgejo;
    }

    /// Gitee's webhooks carry their password itself rather than a signature.
    pub fn send_gitee_password(&self, password: bool) {
        self.world.lock().gitee.password = password;
    }

    /// GitHub sends its webhooks as forms (its web page's default) rather than JSON.
    pub fn send_github_forms(&self, forms: bool) {
        self.world.lock().github.forms = forms;
    }

    /// Where the webhooks of GitHub's repositories go, as its API says when it is asked.
    /// Before that, the repositories have none, and their logs are nowhere.
    pub fn set_github_hook(&self, url: &str) {
        self.world.lock().github.hook_url = Some(url.to_owned());
    }

    /// QCloud answers ids and module codes as numbers rather than text.
    pub fn answer_qcloud_numbers(&self, numbers: bool) {
        self.world.lock().qcloud.numbers = numbers;
    }

    /// Which of its tokens GitLab sends with its webhooks: (signing token, plain token). Both at first.
    pub fn sign_gitlab_webhooks(&self, signed: bool, plain: bool) {
        let mut state = self.world.lock();
        state.gitlab.signed = signed;
        state.gitlab.plain = plain;
    }

    /// Stops answering; open connections end.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }

    fn cdn(&self, service: Service) -> CdnAccount {
        CdnAccount {
            world: Arc::clone(&self.world),
            service,
        }
    }

    fn forge(&self, service: Service) -> Forge {
        Forge {
            world: Arc::clone(&self.world),
            service,
        }
    }
}

/// The script of misbehaviour.
#[derive(Clone)]
pub struct Faults(Arc<World>);

impl Faults {
    /// Lets calls go wrong: those to `service` that ask for `action` (`*` for any).
    /// Rules apply in the order they were added; the first that matches counts.
    pub fn add(&self, service: Service, action: &str, often: Often, fault: Fault) {
        self.0.lock().script.add(service, action, often, fault);
    }

    /// Forgets all rules.
    pub fn clear(&self) {
        self.0.lock().script.clear();
    }

    /// Seeds the chances of [`Often::Chance`]. The seed is 1 at first.
    pub fn seed(&self, seed: u64) {
        self.0.lock().script.seed(seed);
    }

    /// How many calls [`Often::Times`] rules still wait for.
    pub fn pending(&self) -> u32 {
        self.0.lock().script.pending()
    }
}

/// The shared world: everything the services know.
pub(in crate::sandbox) struct World {
    clock: Clock,
    addresses: BTreeMap<Service, String>,
    state: Mutex<State>,
}

/// What changes.
pub(in crate::sandbox) struct State {
    github: github::GitHub,
    gitlab: gitlab::GitLab,
    gitea: gitea::Gitea,
    gitee: gitee::Gitee,
    tencent_cdn: tencent::Tencent,
    tencent_ecdn: tencent::Tencent,
    qcloud: qcloud::QCloud,
    huawei_cdn: huawei::Huawei,
    script: faults::Script,
    log: Vec<Call>,
}

impl State {
    fn api(&mut self, service: Service) -> &mut dyn exchange::Api {
        match service {
            Service::GitHub => &mut self.github,
            Service::GitLab => &mut self.gitlab,
            Service::Gitea => &mut self.gitea,
            Service::Gitee => &mut self.gitee,
            Service::TencentCdn => &mut self.tencent_cdn,
            Service::TencentEcdn => &mut self.tencent_ecdn,
            Service::QCloud => &mut self.qcloud,
            Service::HuaweiCdn => &mut self.huawei_cdn,
        }
    }
}

impl World {
    fn new(clock: Clock, addresses: BTreeMap<Service, String>) -> Self {
        let address = |service| addresses.get(&service).cloned().unwrap_or_default();
        let mut github = github::GitHub::new();
        github.address = address(Service::GitHub);
        let mut gitlab = gitlab::GitLab::new();
        gitlab.address = address(Service::GitLab);
        let mut gitea = gitea::Gitea::new();
        gitea.address = address(Service::Gitea);
        let state = State {
            github,
            gitlab,
            gitea,
            gitee: gitee::Gitee::new(),
            tencent_cdn: tencent::Tencent::cdn(),
            tencent_ecdn: tencent::Tencent::ecdn(),
            qcloud: qcloud::QCloud::new(),
            huawei_cdn: huawei::Huawei::new(),
            script: faults::Script::new(),
            log: Vec::new(),
        };
        Self {
            clock,
            addresses,
            state: Mutex::new(state),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn address(&self, service: Service) -> String {
        self.addresses.get(&service).cloned().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses a CDN's account.
    fn account<T>(&self, service: Service, use_it: impl FnOnce(&mut account::Account) -> T) -> T {
        let mut state = self.lock();
        match service {
            Service::TencentEcdn => use_it(&mut state.tencent_ecdn.account),
            Service::QCloud => use_it(&mut state.qcloud.account),
            Service::HuaweiCdn => use_it(&mut state.huawei_cdn.account),
            Service::GitHub
            | Service::GitLab
            | Service::Gitea
            | Service::Gitee
            | Service::TencentCdn => use_it(&mut state.tencent_cdn.account),
        }
    }

    /// Uses the side of a forge that people push to. GitHub's for services that are no forge.
    fn host<T>(&self, service: Service, use_it: impl FnOnce(&mut dyn forge::Host) -> T) -> T {
        let mut state = self.lock();
        match service {
            Service::GitLab => use_it(&mut state.gitlab),
            Service::Gitea => use_it(&mut state.gitea),
            Service::Gitee => use_it(&mut state.gitee),
            Service::GitHub
            | Service::TencentCdn
            | Service::TencentEcdn
            | Service::QCloud
            | Service::HuaweiCdn => use_it(&mut state.github),
        }
    }
}
