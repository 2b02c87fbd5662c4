//! How the sites on one account share a daily quota.
//!
//! Half of the quota is reserved for the sites in equal parts. A site may use everything that is not reserved for
//! another, so it borrows what others leave. The reserved part shrinks every hour and is zero in the last hour of
//! the quota day. If more targets wait than are left, sites that have used less today come first.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::quota::quota_day;

const HOURS_A_DAY: u64 = 24;

/// A site's use of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteUse {
    /// Targets submitted for it today.
    pub taken: u64,
    /// Targets waiting.
    pub waiting: u64,
}

/// How many targets of a daily quota are reserved for each of `sites` sites. Targets that a site has submitted
/// today count against its part.
pub fn kept_for_each(total: u64, sites: usize, now: Timestamp) -> u64 {
    let (_, end) = quota_day(now);
    let hours_left = u64::try_from(end.duration_since(now).as_hours()).unwrap_or(0);
    let sites = u64::try_from(sites).unwrap_or(u64::MAX).max(1);
    let part = total / 2 / sites;
    part.saturating_mul(hours_left.min(HOURS_A_DAY)) / HOURS_A_DAY
}

/// Whether a batch would leave less than is reserved for all sites, however much they have used. If not, shares do
/// not matter.
pub fn is_scarce(left: u64, batch: u64, kept: u64, sites: usize) -> bool {
    let sites = u64::try_from(sites).unwrap_or(u64::MAX);
    sites > 1 && left.saturating_sub(batch) < kept.saturating_mul(sites)
}

/// How many of the targets left today each site may submit now: not more than it has waiting, and not more than is
/// left in total.
///
/// Raises all sites to the same level of targets used today, as far as the rest of the quota allows. A site with
/// fewer targets waiting than are reserved for it counts with its reserved part.
pub fn grants(left: u64, kept: u64, sites: &BTreeMap<String, SiteUse>) -> BTreeMap<String, u64> {
    let wanted = |site: &SiteUse| site.waiting.max(kept.saturating_sub(site.taken));
    let given = |site: &SiteUse, level: u64| wanted(site).min(level.saturating_sub(site.taken));
    let given_to_all = |level: u64| {
        let each = sites.values().map(|site| given(site, level));
        each.fold(0, u64::saturating_add)
    };
    let tops = sites
        .values()
        .map(|site| site.taken.saturating_add(wanted(site)));
    let (mut level, mut above) = (0, tops.max().unwrap_or(0));
    while level < above {
        let middle = level + (above - level).div_ceil(2);
        if given_to_all(middle) <= left {
            level = middle;
        } else {
            above = middle - 1;
        }
    }
    // Too few for one more each: they go to sites with targets waiting.
    let mut rest = left.saturating_sub(given_to_all(level));
    let mut grants = BTreeMap::new();
    for (name, site) in sites {
        let mut grant = given(site, level).min(site.waiting);
        if rest > 0 && grant < site.waiting && site.taken <= level {
            grant += 1;
            rest -= 1;
        }
        grants.insert(name.clone(), grant);
    }
    grants
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn sites<const N: usize>(uses: [(u64, u64); N]) -> BTreeMap<String, SiteUse> {
        named(uses.into_iter())
    }

    fn named(uses: impl Iterator<Item = (u64, u64)>) -> BTreeMap<String, SiteUse> {
        let named = uses.enumerate().map(|(n, (taken, waiting))| {
            let name = format!("site-{n}");
            (name, SiteUse { taken, waiting })
        });
        named.collect()
    }

    fn granted(left: u64, kept: u64, sites: &BTreeMap<String, SiteUse>) -> Vec<u64> {
        grants(left, kept, sites).into_values().collect()
    }

    #[test]
    fn half_of_a_quota_is_kept_and_less_from_hour_to_hour() {
        let kept = |time| kept_for_each(10_000, 2, at(time));

        assert_eq!(kept("2026-11-22T16:00:00Z"), 2_500);
        assert_eq!(kept("2026-11-23T04:00:00Z"), 1_250);
        assert_eq!(kept("2026-11-23T14:59:59Z"), 104);
        assert_eq!(kept("2026-11-23T15:00:01Z"), 0, "the last hour");
    }

    #[test]
    fn a_site_borrows_all_but_what_is_kept_for_the_other() {
        let idle = sites([(0, 12_000), (0, 0)]);
        assert_eq!(granted(10_000, 2_500, &idle), [7_500, 0]);

        let spent = sites([(7_500, 4_500), (0, 1)]);
        assert_eq!(granted(2_500, 2_500, &spent), [0, 1]);
    }

    #[test]
    fn what_the_other_has_taken_is_not_kept_for_it_once_more() {
        let both = sites([(3_000, 9_000), (2_000, 0)]);

        assert_eq!(granted(5_000, 2_500, &both), [4_500, 0]);
    }

    #[test]
    fn sites_that_both_have_much_waiting_get_equal_parts_of_the_day() {
        let fresh = sites([(0, 12_000), (0, 9_000)]);
        assert_eq!(granted(10_000, 2_500, &fresh), [5_000, 5_000]);

        let later = sites([(4_000, 8_000), (1_000, 9_000)]);
        assert_eq!(granted(5_000, 2_500, &later), [1_000, 4_000]);
    }

    #[test]
    fn the_last_ones_go_to_sites_that_have_something_waiting() {
        let many = sites([(0, 0), (0, 5), (0, 0), (0, 5)]);

        assert_eq!(granted(3, 2, &many), [0, 1, 0, 1]);
    }

    proptest! {
        #[test]
        fn no_more_is_granted_than_is_left_and_waits(
            left in 0_u64..20_000, kept in 0_u64..3_000, uses in vec((0_u64..9_000, 0_u64..9_000), 1..8)
        ) {
            let sites = named(uses.into_iter());
            let grants = grants(left, kept, &sites);

            prop_assert!(grants.values().sum::<u64>() <= left);
            for (name, grant) in &grants {
                prop_assert!(*grant <= sites[name].waiting);
            }
        }

        #[test]
        fn where_nothing_is_kept_all_of_it_is_used(
            left in 0_u64..20_000, uses in vec((0_u64..9_000, 0_u64..9_000), 1..8)
        ) {
            let sites = named(uses.into_iter());
            let waiting: u64 = sites.values().map(|site| site.waiting).sum();

            let granted: u64 = grants(left, 0, &sites).values().sum();

            prop_assert_eq!(granted, left.min(waiting));
        }

        /// A day on which sites ask for random numbers of targets each hour, and use all that they are granted.
        #[test]
        fn a_site_that_wants_no_more_than_is_kept_for_it_never_waits(
            total in 0_u64..20_000, pushes in vec((0_usize..5, 0_u64..9_000), 1..60), modest in 0_usize..5
        ) {
            let mut sites = named([(0, 0); 5].into_iter());
            let modest = format!("site-{modest}");
            let (begin, _) = quota_day(at("2026-11-22T04:00:00Z"));
            let mut left = total;
            for (hour, (site, wanted)) in pushes.chunks(3).zip(0_i64..).flat_map(|(some, hour)| {
                some.iter().map(move |push| (hour, push))
            }) {
                let kept = kept_for_each(total, sites.len(), begin + std::time::Duration::from_secs(
                    hour.unsigned_abs() * 3_600));
                let name = format!("site-{site}");
                let wanted = if name == modest {
                    (*wanted).min(kept.saturating_sub(sites[&modest].taken))
                } else {
                    *wanted
                };
                sites.get_mut(&name).unwrap().waiting += wanted;
                for (name, grant) in grants(left, kept, &sites) {
                    let site = sites.get_mut(&name).unwrap();
                    site.taken += grant;
                    site.waiting -= grant;
                    left -= grant;
                }
                prop_assert_eq!(sites[&modest].waiting, 0);
            }
        }
    }
}
