//! Limits the connections per address, so that one client cannot take all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Connections by holder.
#[derive(Clone, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place. Dropping it releases it.
pub(super) struct Place {
    shares: Shares,
    holder: IpAddr,
}

impl Shares {
    /// Acquires a place for another connection from `peer`, unless it already has `most`.
    pub(super) fn place(&self, peer: IpAddr, most: usize) -> Option<Place> {
        let holder = holder(peer);
        let mut held = self.0.lock();
        let count = held.entry(holder).or_default();
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        Some(Place {
            shares: self.clone(),
            holder,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.shares.0.lock();
        if let Some(count) = held.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

/// The holder of an address: with IPv6 the whole /64, the smallest network that a customer gets (RFC 6177, section
/// 2).
pub(super) fn holder(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_its_share_and_the_others_have_theirs() {
        let shares = Shares::default();
        let places: Vec<Option<Place>> = (0..3)
            .map(|_| shares.place(address("192.0.2.1"), 2))
            .collect();

        assert_eq!(places.iter().flatten().count(), 2);
        assert!(shares.place(address("192.0.2.2"), 2).is_some());
    }

    #[test]
    fn a_connection_that_ends_makes_room_for_another() {
        let shares = Shares::default();
        let place = shares.place(address("192.0.2.1"), 1);
        assert!(shares.place(address("192.0.2.1"), 1).is_none());

        drop(place);

        assert!(shares.0.lock().is_empty());
        assert!(shares.place(address("192.0.2.1"), 1).is_some());
    }

    #[test]
    fn the_addresses_of_one_customer_count_as_one() {
        assert_eq!(
            holder(address("2001:db8:0:1::5")),
            address("2001:db8:0:1::")
        );
        assert_eq!(holder(address("::ffff:192.0.2.1")), address("192.0.2.1"));
        assert_ne!(
            holder(address("2001:db8:0:1::5")),
            holder(address("2001:db8:0:2::5"))
        );
    }
}
