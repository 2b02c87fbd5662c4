//! Stand-ins: the simulated services, each registered by its kind.

use std::any::Any;

use super::account::CdnService;
use super::exchange::Api;
use super::host::GitHost;
use super::service::Service;

/// A service that the sandbox can simulate. To add one, write its module and add its `KIND` to [`super::KINDS`].
pub(super) struct Kind {
    pub service: Service,
    /// Creates the stand-in for an address.
    pub start: fn(address: &str) -> StandIn,
}

/// The stand-in for a service.
pub(super) enum StandIn {
    Forge(Box<dyn GitHost>),
    Cdn(Box<dyn CdnService>),
}

impl StandIn {
    pub fn forge(host: impl GitHost) -> Self {
        Self::Forge(Box::new(host))
    }

    pub fn cdn(cdn: impl CdnService) -> Self {
        Self::Cdn(Box::new(cdn))
    }

    /// Its API.
    pub fn api(&mut self) -> &mut dyn Api {
        match self {
            Self::Forge(host) => &mut **host,
            Self::Cdn(cdn) => &mut **cdn,
        }
    }

    /// Its state, if it has this type.
    pub fn state<S: Any>(&mut self) -> Option<&mut S> {
        let any: &mut dyn Any = match self {
            Self::Forge(host) => &mut **host,
            Self::Cdn(cdn) => &mut **cdn,
        };
        any.downcast_mut()
    }
}
