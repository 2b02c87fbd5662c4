//! The `limits:` of an entry under `cdns:`, which replace the vendor's documented ones.

use super::Limits;
use crate::purge::PurgeKind;
use crate::settings::Section;

/// Reads `limits:`, which replace the documented ones. There are no keys for kinds that the CDN does not support.
pub fn read(section: &mut Section, mut documented: Limits) -> Limits {
    let Some(mut limits) = section.section("limits") else {
        return documented;
    };
    let per_second = limits
        .number("requests_per_second", 1..=1_000)
        .and_then(|number| u32::try_from(number.value).ok());
    for (kind, limit) in &mut documented.kinds {
        let plural = match kind {
            PurgeKind::Url => "urls",
            PurgeKind::Directory => "directories",
            PurgeKind::Prefetch => "prefetches",
        };
        if let Some(number) = limits.number(&format!("{plural}_per_day"), 0..=u64::MAX) {
            limit.per_day = number.value;
            limit.per_day_configured = true;
        }
        let per_request = limits.number(&format!("{plural}_per_request"), 1..=100_000);
        if let Some(number) = per_request.and_then(|number| usize::try_from(number.value).ok()) {
            limit.per_request = number;
        }
        limit.requests_per_second = per_second.unwrap_or(limit.requests_per_second);
    }
    documented.queries_per_second = per_second.unwrap_or(documented.queries_per_second);
    documented
}
