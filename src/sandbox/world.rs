//! The state that all stand-ins share: the clock, their data, the scripted faults, and the record of calls.

use std::any::Any;
use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::account::CdnService;
use super::exchange::Api;
use super::faults::{Fault, Script};
use super::host::GitHost;
use super::service::Service;
use super::stand_in::StandIn;
use crate::clock::Clock;

/// A call and its result.
#[derive(Clone, Debug)]
pub struct Call {
    /// The service it was for.
    pub service: Service,
    /// Its action, as named in faults: `PurgeUrlsCache`, `POST statuses`.
    pub action: String,
    /// When it arrived.
    pub at: Timestamp,
    /// Method, address and (where short) body. Never credentials.
    pub summary: String,
    /// The HTTP status; 0 if no answer was sent.
    pub status: u16,
    /// `ok`, or the service's error.
    pub outcome: String,
    /// The fault that was applied.
    pub fault: Option<Fault>,
}

/// The shared state of all services.
pub(super) struct World {
    pub clock: Clock,
    addresses: BTreeMap<Service, String>,
    state: Mutex<State>,
}

/// The part that changes.
pub(super) struct State {
    stand_ins: BTreeMap<Service, StandIn>,
    pub script: Script,
    pub log: Vec<Call>,
}

impl State {
    pub fn api(&mut self, service: Service) -> &mut dyn Api {
        self.stand_in(service).api()
    }

    fn stand_in(&mut self, service: Service) -> &mut StandIn {
        match self.stand_ins.get_mut(&service) {
            Some(stand_in) => stand_in,
            None => panic!("no stand-in for {service}"),
        }
    }
}

impl World {
    /// A world of stand-ins, each at its address.
    pub fn new(clock: Clock, stand_ins: Vec<(Service, String, StandIn)>) -> Self {
        let mut addresses = BTreeMap::new();
        let mut by_service = BTreeMap::new();
        for (service, address, stand_in) in stand_ins {
            addresses.insert(service, address);
            by_service.insert(service, stand_in);
        }
        Self {
            clock,
            addresses,
            state: Mutex::new(State {
                stand_ins: by_service,
                script: Script::new(),
                log: Vec::new(),
            }),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn address(&self, service: Service) -> String {
        self.addresses.get(&service).cloned().unwrap_or_default()
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The forge of a kind, if there is one.
    pub fn forge_of(&self, kind: &str) -> Option<Service> {
        self.service_of(kind, |stand_in| matches!(stand_in, StandIn::Forge(_)))
    }

    /// The CDN of a kind, if there is one.
    pub fn cdn_of(&self, kind: &str) -> Option<Service> {
        self.service_of(kind, |stand_in| matches!(stand_in, StandIn::Cdn(_)))
    }

    fn service_of(&self, kind: &str, fits: fn(&StandIn) -> bool) -> Option<Service> {
        let state = self.lock();
        let mut all = state.stand_ins.iter();
        all.find(|(service, stand_in)| service.kind() == kind && fits(stand_in))
            .map(|(service, _)| *service)
    }

    /// Runs a function with a CDN.
    pub fn cdn<T>(&self, service: Service, use_it: impl FnOnce(&mut dyn CdnService) -> T) -> T {
        match self.lock().stand_in(service) {
            StandIn::Cdn(cdn) => use_it(&mut **cdn),
            StandIn::Forge(_) => panic!("{service} is no CDN"),
        }
    }

    /// Runs a function with the git side of a forge.
    pub fn host<T>(&self, service: Service, use_it: impl FnOnce(&mut dyn GitHost) -> T) -> T {
        match self.lock().stand_in(service) {
            StandIn::Forge(host) => use_it(&mut **host),
            StandIn::Cdn(_) => panic!("{service} is no forge"),
        }
    }

    /// Runs a function with a state of a certain type, for what only that kind has.
    pub fn state_of<S: Any, T>(&self, service: Service, use_it: impl FnOnce(&mut S) -> T) -> T {
        match self.lock().stand_in(service).state() {
            Some(state) => use_it(state),
            None => panic!("{service} is played by another stand-in"),
        }
    }
}
