//! The durable steps that carry a run from delivery to status.
//!
//! Each step takes one claimed work item, does what it asks for, and commits
//! the outcome together with what comes next. Nothing else is remembered: a
//! process that dies between two commits leaves work that is due, and whoever
//! comes next takes it up.

mod baseline;
mod change_set;
mod clock_jumps;
mod concurrency;
mod diff_cache;
mod dry_run;
mod intake;
mod leases;
mod manual;
mod policy;
mod receive;
mod steps;
mod upstream;
mod wait_reasons;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

pub use manual::only_branch;
pub use receive::{ReceiveError, Received};
pub use steps::plan::{budgets, capabilities};
pub use upstream::breaker::Silent;
pub use upstream::quota::quota_day;

use crate::clock::Clock;
use crate::config::Config;
use crate::run::RunId;
use crate::store::{ClaimLimits, Disposition, Lease, Store, StoreError, Work, WorkKey, Write};

/// How long a claimed step may go without a sign of life before someone else may do it.
const LEASE: Duration = Duration::from_secs(60);
/// How long one step may take in all. A walk through two large trees is the longest.
const STEP_LIMIT: Duration = Duration::from_secs(900);
/// Steps done at once.
const STEPS_AT_ONCE: usize = 64;
/// Steps done at once that may wait for one forge: one that hangs leaves room for the others.
const STEPS_OF_CROWD: usize = 16;
/// How long to wait before looking for work that nobody announced, such as another replica's.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The longest pause between two looks for work that is known to be due.
const LONGEST_REST: Duration = Duration::from_millis(100);
/// How long a run may stay pending: past this, what is not confirmed has failed.
const RUN_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);
/// How long steps in hand get to finish when the program stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long looking for work may go on when the program stops: a claim that got
/// through and was not heard of would keep others from the work for a lease.
const LAST_LOOK: Duration = Duration::from_secs(3);
/// How long others leave a step alone that was cut off at the stop: its request may be under way still.
const HAND_OVER: Duration = Duration::from_secs(10);
/// How long handing over may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// Carries runs through their steps.
pub struct Engine {
    config: watch::Receiver<Arc<Config>>,
    store: Arc<Store>,
    clock: Clock,
    /// Rung when there may be work that is due.
    work_available: Arc<Notify>,
    intake: intake::Intake,
    quotas: upstream::quota::Quotas,
    diffs: diff_cache::DiffCache,
    suspects: upstream::breaker::Suspects,
    jumps: clock_jumps::ClockJumps,
    leases: leases::Leases,
    logs: steps::missed_deliveries::Logs,
    removed: steps::retention::Tally,
}

/// What a step came to, to be committed.
struct Outcome {
    writes: Vec<Write>,
    after: Disposition,
}

impl Outcome {
    fn done(writes: Vec<Write>) -> Self {
        Self {
            writes,
            after: Disposition::Complete,
        }
    }

    fn again(writes: Vec<Write>, at: Timestamp, attempts: i64) -> Self {
        Self {
            writes,
            after: Disposition::Reschedule { at, attempts },
        }
    }
}

/// Why a step came to nothing. It is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Someone else has the work by now.
    #[error("the lease has passed on")]
    LeaseLost,
    /// It has to wait for so long: whom it would ask does not answer, or another step comes first.
    #[error("it has to wait")]
    NotYet(Duration),
}

impl Engine {
    /// An engine on a store. Takes in deliveries at once; does steps when [`run`](Self::run) or [`drain`](Self::drain) is called.
    pub fn new(config: watch::Receiver<Arc<Config>>, store: Arc<Store>, clock: Clock) -> Arc<Self> {
        let work_available = Arc::new(Notify::new());
        let intake = intake::Intake::start(Arc::clone(&store), Arc::clone(&work_available));
        Arc::new(Self {
            config,
            store,
            clock,
            work_available,
            intake,
            quotas: upstream::quota::Quotas::default(),
            diffs: diff_cache::DiffCache::default(),
            suspects: upstream::breaker::Suspects::default(),
            jumps: clock_jumps::ClockJumps::default(),
            leases: leases::Leases::default(),
            logs: steps::missed_deliveries::Logs::default(),
            removed: steps::retention::Tally::default(),
        })
    }

    /// The configuration as of now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// What is kept.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The time as the engine sees it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tries a failed run again. None if there is no such run; false if it has not failed.
    pub async fn retry(&self, id: &RunId) -> Result<Option<bool>, StoreError> {
        let now = self.clock.now();
        let again = self.store.retry(id, now, now + RUN_LIMIT).await?;
        self.work_available.notify_one();
        Ok(again)
    }

    /// Does steps as they come due, until `stop` turns true; then lets steps in hand finish,
    /// for [`STOP_LIMIT`] and some seconds at most.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        // Sites that are new in a configuration of after the start are seen by `changed` below.
        let mut are_all_looked_after = tokio::select! {
            biased;
            all = self.look_after_all() => all,
            () = stopped(&mut stop, Duration::ZERO) => return,
        };
        let cut = watch::Sender::new(false);
        let mut config = self.config.clone();
        let mut in_hand = JoinSet::new();
        let limits = concurrency::ConcurrencyLimits::default();
        let listening = self.listen();
        tokio::pin!(listening);
        loop {
            // Listen before looking, or a wish made in between would wait for the next look.
            let work_available = Arc::clone(&self.work_available);
            let rung = work_available.notified();
            let began = self.clock.now();
            let wait = tokio::select! {
                biased;
                wait = self.take_up(&mut in_hand, &limits, &cut) => wait,
                () = stopped(&mut stop, LAST_LOOK) => break,
            };
            let looked = Duration::try_from(self.clock.now().duration_since(began));
            let rest = (looked.unwrap_or_default() * 4).min(LONGEST_REST);
            tokio::select! {
                // In this order, so that a simulated world happens the same each time. What comes
                // first is rare or never ready for long, and so keeps nothing below it waiting.
                biased;
                () = stopped(&mut stop, Duration::ZERO) => break,
                // A site may be new, or follow something else from now on.
                Ok(()) = config.changed() => are_all_looked_after = false,
                () = &mut listening => {}
                () = rung => {}
                Some(_) = in_hand.join_next() => {}
                () = self.clock.sleep(wait) => {}
            }
            if !are_all_looked_after {
                are_all_looked_after = tokio::select! {
                    biased;
                    all = self.look_after_all() => all,
                    () = stopped(&mut stop, LAST_LOOK) => break,
                };
            }
            // Looking takes the longer, the more there is to do, and each step that is over asks
            // for a look: a fifth of the time at most goes into looking.
            if !rest.is_zero() {
                tokio::select! {
                    biased;
                    () = stopped(&mut stop, Duration::ZERO) => break,
                    () = self.clock.sleep(rest) => {}
                }
            }
        }
        let finished = async |in_hand: &mut JoinSet<()>, limit| {
            let all = async { while in_hand.join_next().await.is_some() {} };
            tokio::time::timeout(limit, all).await.is_ok()
        };
        if !finished(&mut in_hand, STOP_LIMIT).await {
            info!(
                "{} steps are cut off; others go on with them, or the next start does",
                in_hand.len()
            );
            cut.send_replace(true);
            finished(&mut in_hand, HAND_OVER_LIMIT).await;
        }
    }

    /// Asks for what is done every now and then, from now on. False if it could not ask for all of it.
    async fn look_after_all(&self) -> bool {
        let reconciling = self.begin_reconciling().await;
        if let Err(error) = &reconciling {
            error!("cannot begin to compare sites with their forges: {error}");
        }
        let removing = self.begin_removing().await;
        if let Err(error) = &removing {
            error!("cannot begin to remove what is old: {error}");
        }
        reconciling.is_ok() && removing.is_ok()
    }

    /// Wakes the loop when another process has made work available. Never returns.
    async fn listen(&self) {
        let mut failures = 0;
        loop {
            match self.store.notified().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    warn!(
                        "cannot hear of other replicas' work, looking for it every few seconds: {error}"
                    );
                    let wait = policy::backoff::backoff(failures, self.clock.fraction());
                    failures += 1;
                    self.clock.sleep(wait).await;
                }
            }
            self.work_available.notify_one();
        }
    }

    /// Starts what is due, as far as there is room; how long to wait before looking again.
    async fn take_up(
        self: &Arc<Self>,
        in_hand: &mut JoinSet<()>,
        limits: &concurrency::ConcurrencyLimits,
        cut: &watch::Sender<bool>,
    ) -> Duration {
        while in_hand.try_join_next().is_some() {}
        let room = ClaimLimits {
            most: STEPS_AT_ONCE.saturating_sub(in_hand.len()),
            of_crowd: STEPS_OF_CROWD,
            in_hand: limits.running(),
        };
        if room.most == 0 {
            return LOOK_AGAIN;
        }
        let (now, claimed) = match self.claim(room).await {
            Ok(looked) => looked,
            Err(error) => {
                error!("cannot look for work: {error}");
                return LOOK_AGAIN;
            }
        };
        for work in claimed {
            let engine = Arc::clone(self);
            let mut cut = cut.subscribe();
            let permit = limits.acquire(work.concurrency_key.clone());
            in_hand.spawn(async move {
                let _permit = permit;
                let lease = work.lease.clone();
                tokio::select! {
                    biased;
                    () = engine.perform(work) => {}
                    () = stopped(&mut cut, Duration::ZERO) => engine.hand_over(&lease).await,
                }
            });
        }
        if in_hand.len() >= STEPS_AT_ONCE {
            return LOOK_AGAIN;
        }
        let full: Vec<String> = limits
            .running()
            .into_iter()
            .filter(|(_, in_hand)| *in_hand >= STEPS_OF_CROWD)
            .map(|(crowd, _)| crowd)
            .collect();
        match self.store.next_due(&full).await {
            Ok(Some(due)) => Duration::try_from(due.duration_since(now))
                .unwrap_or_default()
                .min(LOOK_AGAIN),
            Ok(None) | Err(_) => LOOK_AGAIN,
        }
    }

    /// Does every step that is due, one after the other, until none is; when the next one will be.
    pub async fn drain(&self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let (_, claimed) = self.claim(STEPS_AT_ONCE.into()).await?;
            if claimed.is_empty() {
                return self.store.next_due(&[]).await;
            }
            for work in claimed {
                self.perform(work).await;
            }
        }
    }

    /// What is due, as far as there is room, and as of when.
    async fn claim(&self, room: ClaimLimits) -> Result<(Timestamp, Vec<Work>), StoreError> {
        let now = self.look_at_clock().await?;
        let token = self.clock.new_id();
        let claimed = self.store.claim(now, LEASE, &token, room).await?;
        self.jumps.looked(now);
        Ok((now, claimed))
    }

    /// Does one step under its lease, within its limit of time.
    async fn perform(&self, work: Work) {
        let lease = work.lease.clone();
        let key = work.key.clone();
        let attempts = work.attempts;
        let _held = self.leases.hold(&lease);
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(STEP_LIMIT, self.step(&work)) => result,
            () = self.keep(&lease) => {
                warn!(work = ?key, "the lease has passed on; leaving the step to whoever has it");
                return;
            }
        };
        let failure = match result {
            Ok(Ok(())) => {
                self.work_available.notify_one();
                return;
            }
            Ok(Err(StepError::LeaseLost)) => {
                warn!(work = ?key, "the lease has passed on; leaving the step to whoever has it");
                return;
            }
            Ok(Err(StepError::Store(StoreError::Outdated))) => {
                let wait = policy::backoff::backoff(attempts, self.clock.fraction());
                self.put_back(&lease, self.clock.now() + wait, attempts + 1)
                    .await;
                return;
            }
            Ok(Err(StepError::NotYet(wait))) => {
                self.put_back(&lease, self.clock.now() + wait, attempts)
                    .await;
                return;
            }
            Ok(Err(StepError::Store(error))) => error.to_string(),
            Err(_) => format!("it took longer than {} s", STEP_LIMIT.as_secs()),
        };
        error!(work = ?key, "a step failed and will be tried again: {failure}");
        let now = self.clock.now();
        let at = now + policy::backoff::backoff(attempts, self.clock.fraction());
        self.put_back(&lease, at, attempts + 1).await;
    }

    async fn put_back(&self, lease: &Lease, at: Timestamp, attempts: i64) {
        let after = Disposition::Reschedule { at, attempts };
        if let Err(error) = self.store.commit(lease, &[], after, self.clock.now()).await {
            // The lease runs out by itself, and the step is due again then.
            error!("cannot put a step back: {error}");
        }
        self.work_available.notify_one();
    }

    /// Leaves a step that was cut off to others, soon.
    async fn hand_over(&self, lease: &Lease) {
        let now = self.clock.now();
        if let Err(error) = self.store.renew(lease, now, HAND_OVER).await {
            warn!("a step cannot be handed over; its lease runs out by itself: {error}");
        }
    }

    /// Renews a lease for as long as it can be renewed; returns when it can't.
    async fn keep(&self, lease: &Lease) {
        loop {
            self.clock.sleep(LEASE / 3).await;
            if let Ok(false) = self.store.renew(lease, self.clock.now(), LEASE).await {
                return;
            }
        }
    }

    async fn step(&self, work: &Work) -> Result<(), StepError> {
        let outcome = match &work.key {
            WorkKey::Run(run) => self.advance(run, work).await?,
            WorkKey::Status(run) => self.report(run, work).await?,
            WorkKey::Reconcile { site } => self.reconcile(site, work).await?,
            WorkKey::Remove => self.remove_old().await?,
            WorkKey::Submit { account, kind } => self.submit(account, *kind, work).await?,
            WorkKey::Follow { account, kind } => self.follow(account, *kind, work).await?,
        };
        self.commit(work, &outcome.writes, outcome.after).await
    }

    async fn commit(
        &self,
        work: &Work,
        writes: &[Write],
        after: Disposition,
    ) -> Result<(), StepError> {
        if self
            .store
            .commit(&work.lease, writes, after, self.clock.now())
            .await?
        {
            Ok(())
        } else {
            Err(StepError::LeaseLost)
        }
    }
}

/// Returns a while after `stop` turned true, or whoever could say so is gone.
async fn stopped(stop: &mut watch::Receiver<bool>, grace: Duration) {
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(grace).await;
}
