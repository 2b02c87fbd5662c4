//! A preview and a run of the same change come to the same plan.

use std::convert::Infallible;

use purgehook::changes::{Completeness, FilePath};
use purgehook::commands::plan::preview;
use purgehook::config::Site;
use purgehook::plan::{Allowance, Change, Objects, Plan};
use purgehook::purge::PlannedPurge;
use purgehook::run::{Run, RunId};

use crate::world::World;

/// What `purgehook plan` shows of the change that a run found; none where the run made no plan.
pub async fn previewed(world: &World, run: &Run, files: &[FilePath]) -> Option<Plan> {
    let config = world.config();
    let site = &config.sites[&run.site];
    let changed = world.store().changes(&run.id).await.unwrap();
    let change = match (run.proof?, &changed) {
        (Completeness::Proven(_), Some(changed)) => Change::Files(changed.files()),
        (Completeness::Proven(_), None) => return None,
        (Completeness::Unknown, _) => Change::Unknown { why: "so it said" },
    };
    let objects = |plan: &Plan| Ok::<_, Infallible>(Objects::count(&site.rules, files, plan));
    Some(
        preview(
            site,
            change,
            |cdn, kind| allowance(site, cdn, kind),
            objects,
        )
        .unwrap(),
    )
}

/// All that a CDN is documented to take in a day.
fn allowance(site: &Site, cdn: &str, kind: purgehook::purge::PurgeKind) -> Option<Allowance> {
    let limit = site.mode.limits(cdn)?.kinds.get(&kind)?;
    Some(Allowance {
        per_request: limit.per_request,
        left: Some(limit.per_day),
    })
}

/// What a run purged, sorted.
pub async fn planned(world: &World, run: &RunId) -> Vec<PlannedPurge> {
    let mut planned = Vec::new();
    let mut last = 0;
    loop {
        let page = world.store().purges(run, last, 1_000).await.unwrap();
        let Some(end) = page.last() else { break };
        last = end.id;
        planned.extend(page.into_iter().map(|purge| purge.planned));
    }
    planned.sort();
    planned
}
