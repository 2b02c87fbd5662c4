//! Claims due work, runs its steps under their leases, and reschedules failed steps.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::field::Empty;
use tracing::{Instrument, Span, error, info, info_span, warn};

use super::clock_jumps::ClockJumps;
use super::concurrency::ConcurrencyLimits;
use super::context::StepContext;
use super::leases::{LEASE, Leases};
use super::outcome::{Outcome, StepError};
use super::policy::backoff::backoff;
use super::policy::deadlines::STEP_LIMIT;
use super::steps;
use crate::store::{ClaimLimits, Claimed, Disposition, Lease, StoreError, Work, WorkKey};

/// Steps that run at once.
const MAX_RUNNING_STEPS: usize = 64;
/// Steps that run at once and may wait for one forge: a forge that hangs leaves permits for the others.
const MAX_RUNNING_STEPS_PER_KEY: usize = 16;
/// Work items of one site per claim: its statuses leave room for other sites.
const MAX_CLAIMED_PER_SITE: usize = 4;
/// The longest wait between two looks for work, for work without a notification, such as another replica's.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time between two looks for work, so that work that arrives together is claimed together. The first
/// look after a pause is immediate.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The same after a step that leaves due work, so that a run continues soon.
const CONTINUATION_INTERVAL: Duration = Duration::from_millis(4);
/// How much each started step delays the next look: the more there is to do, the more of it is done together, such
/// as the pushes of one site.
const LOOK_INTERVAL_PER_STEP: Duration = Duration::from_millis(3);
/// The longest time between two looks if work is known to be due.
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long running steps may take to finish when the program stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a claim may take when the program stops. If it succeeded without its answer being read, its work would
/// be blocked for a lease.
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(3);
/// How long a step that was cancelled at the stop stays leased: its request may still be in progress.
const CUT_OFF_LEASE: Duration = Duration::from_secs(10);
/// How long shortening those leases may take.
const CUT_OFF_LIMIT: Duration = Duration::from_secs(2);

/// Running steps. Each reports whether it left due work.
type RunningSteps = JoinSet<Progress>;

/// What a step leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It left work that is due now.
    Continues,
    /// It left no due work.
    Rests,
}

/// The result of a look for work.
struct Look {
    /// The number of steps that it started.
    started: u32,
    /// How long to wait for the next look, if nothing happens before.
    wait: Duration,
}

/// Runs steps as their work comes due.
pub(super) struct Scheduler {
    ctx: Arc<StepContext>,
    clock_jumps: ClockJumps,
    leases: Leases,
    limits: ConcurrencyLimits,
}

impl Scheduler {
    pub fn new(ctx: Arc<StepContext>) -> Self {
        Self {
            ctx,
            clock_jumps: ClockJumps::default(),
            leases: Leases::default(),
            limits: ConcurrencyLimits::default(),
        }
    }

    /// Runs steps until `stop` turns true, then lets running steps finish, for at most [`STOP_LIMIT`] and some
    /// seconds.
    pub async fn run(self: &Arc<Self>, mut stop: watch::Receiver<bool>) {
        let cut_off = watch::Sender::new(false);
        let mut running = RunningSteps::new();
        self.run_until_stop(&mut running, &cut_off, &mut stop).await;
        if finish(&mut running, STOP_LIMIT).await {
            return;
        }
        info!(
            "{} steps are interrupted; another process or the next start continues them",
            running.len()
        );
        cut_off.send_replace(true);
        finish(&mut running, CUT_OFF_LIMIT).await;
    }

    async fn run_until_stop(
        self: &Arc<Self>,
        running: &mut RunningSteps,
        cut_off: &watch::Sender<bool>,
        stop: &mut watch::Receiver<bool>,
    ) {
        let ctx = &self.ctx;
        let mut config = ctx.watch_config();
        // `changed` below notices sites that a later configuration adds.
        let mut has_begun = tokio::select! {
            biased;
            has_begun = self.begin_periodic() => has_begun,
            () = stopped(stop, Duration::ZERO) => return,
        };
        let listening = self.listen();
        tokio::pin!(listening);
        loop {
            // Register before the look: work that is enqueued in between would otherwise wait for the next one.
            let notified = ctx.work_available.notified();
            let began = ctx.now();
            let Look { started, wait } = tokio::select! {
                biased;
                look = self.start_due(running, cut_off) => look,
                () = stopped(stop, LAST_LOOK_LIMIT) => return,
            };
            let took = since(ctx.now(), began);
            let mut interval = LOOK_INTERVAL;
            tokio::select! {
                // In a fixed order, so that a simulated world is reproducible. The first branches are rarely ready,
                // so they do not starve those below.
                biased;
                () = stopped(stop, Duration::ZERO) => return,
                // A site may be new, or may follow something else from now on.
                Ok(()) = config.changed() => has_begun = false,
                () = &mut listening => {}
                () = notified => {}
                Some(ended) = running.join_next() => {
                    if let Ok(Progress::Continues) = ended {
                        interval = CONTINUATION_INTERVAL;
                    }
                }
                () = ctx.clock.sleep(wait) => {}
            }
            if !has_begun {
                has_begun = tokio::select! {
                    biased;
                    has_begun = self.begin_periodic() => has_begun,
                    () = stopped(stop, LAST_LOOK_LIMIT) => return,
                };
            }
            // A look takes longer the more there is to do. Spend at most a fifth of the time on looking.
            let interval = interval
                .max(LOOK_INTERVAL_PER_STEP * started)
                .max(took * 5)
                .min(MAX_LOOK_INTERVAL);
            let pause = interval.saturating_sub(since(ctx.now(), began));
            if !pause.is_zero() {
                tokio::select! {
                    biased;
                    () = stopped(stop, Duration::ZERO) => return,
                    () = ctx.clock.sleep(pause) => {}
                }
            }
        }
    }

    /// Runs due steps one after the other until none is due; returns when the next one will be.
    pub async fn drain(&self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let limits = ClaimLimits {
                per_site: MAX_CLAIMED_PER_SITE,
                ..ClaimLimits::from(MAX_RUNNING_STEPS)
            };
            let (_, Claimed { works, next_due }) = self.claim(limits).await?;
            if works.is_empty() {
                return Ok(next_due);
            }
            for work in works {
                self.perform(work).await;
            }
        }
    }

    /// Enqueues the periodic work. False if some of it could not be enqueued.
    async fn begin_periodic(&self) -> bool {
        let reconciling = steps::reconcile::begin(&self.ctx).await;
        if let Err(error) = &reconciling {
            error!("cannot schedule reconciliation: {error}");
        }
        let removing = steps::retention::begin(&self.ctx).await;
        if let Err(error) = &removing {
            error!("cannot schedule the removal of old rows: {error}");
        }
        reconciling.is_ok() && removing.is_ok()
    }

    /// Forwards the notifications of other processes. Never returns.
    async fn listen(&self) {
        let ctx = &self.ctx;
        let mut failures = 0;
        loop {
            match ctx.store.notified().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    warn!(
                        "cannot listen for other replicas' work, so this process polls for it: {error}"
                    );
                    let wait = backoff(failures, ctx.clock.fraction());
                    failures += 1;
                    ctx.clock.sleep(wait).await;
                }
            }
            ctx.work_available.notify_one();
        }
    }

    /// Starts due steps, as far as there are permits.
    async fn start_due(
        self: &Arc<Self>,
        running: &mut RunningSteps,
        cut_off: &watch::Sender<bool>,
    ) -> Look {
        let nothing = Look {
            started: 0,
            wait: POLL_INTERVAL,
        };
        while running.try_join_next().is_some() {}
        let claim = ClaimLimits {
            total: MAX_RUNNING_STEPS.saturating_sub(running.len()),
            per_site: MAX_CLAIMED_PER_SITE,
            per_key: MAX_RUNNING_STEPS_PER_KEY,
            running: self.limits.running(),
        };
        if claim.total == 0 {
            return nothing;
        }
        let (now, Claimed { works, next_due }) = match self.claim(claim).await {
            Ok(claimed) => claimed,
            Err(error) => {
                error!("cannot claim work: {error}");
                return nothing;
            }
        };
        let started = u32::try_from(works.len()).unwrap_or(u32::MAX);
        for work in works {
            self.start(work, running, cut_off.subscribe());
        }
        let wait = match next_due {
            Some(due) if running.len() < MAX_RUNNING_STEPS => {
                let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
                wait.min(POLL_INTERVAL)
            }
            Some(_) | None => POLL_INTERVAL,
        };
        Look { started, wait }
    }

    /// Starts a step in the background.
    fn start(
        self: &Arc<Self>,
        work: Work,
        running: &mut RunningSteps,
        mut cut_off: watch::Receiver<bool>,
    ) {
        let scheduler = Arc::clone(self);
        let permit = self.limits.acquire(work.concurrency_key.clone());
        running.spawn(async move {
            let _permit = permit;
            let lease = work.lease.clone();
            tokio::select! {
                biased;
                progress = scheduler.perform(work) => progress,
                () = stopped(&mut cut_off, Duration::ZERO) => {
                    scheduler.shorten(&lease).await;
                    Progress::Rests
                }
            }
        });
    }

    /// Claims due work within the limits; also returns the time of the claim.
    async fn claim(&self, limits: ClaimLimits) -> Result<(Timestamp, Claimed), StoreError> {
        let store = &self.ctx.store;
        let now = self.ctx.now();
        self.clock_jumps.undo(store, &self.leases, now).await?;
        let token = self.ctx.clock.new_id();
        let claimed = store.claim(now, LEASE, &token, limits).await?;
        self.clock_jumps.note_look(now);
        Ok((now, claimed))
    }

    /// Runs one step under its lease, within its time limit, and commits its outcome.
    async fn perform(&self, work: Work) -> Progress {
        let span = span(&work);
        self.perform_in_span(work).instrument(span).await
    }

    async fn perform_in_span(&self, work: Work) -> Progress {
        let _running = self.leases.hold(&work.lease);
        let step = async {
            let outcome = steps::run(&self.ctx, &work).await?;
            let progress = if outcome.continues(self.ctx.now()) {
                Progress::Continues
            } else {
                Progress::Rests
            };
            self.commit(&work, outcome).await?;
            Ok(progress)
        };
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(STEP_LIMIT, step) => result,
            () = self.renew(&work.lease) => Ok(Err(StepError::LeaseLost)),
        };
        let attempts = work.attempts;
        let fraction = || self.ctx.clock.fraction();
        let (wait, attempts) = match result {
            Ok(Ok(progress)) => return progress,
            Ok(Err(StepError::LeaseLost)) => {
                warn!("the lease is lost; another process continues the step");
                return Progress::Rests;
            }
            Ok(Err(StepError::NotYet(wait))) => (wait, attempts),
            Ok(Err(StepError::Store(StoreError::Outdated))) => {
                (backoff(attempts, fraction()), attempts + 1)
            }
            Ok(Err(StepError::Store(error))) => {
                error!("a step failed and will be tried again: {error}");
                (backoff(attempts, fraction()), attempts + 1)
            }
            Err(_) => {
                let limit = STEP_LIMIT.as_secs();
                error!("a step took longer than {limit} s and will be tried again");
                (backoff(attempts, fraction()), attempts + 1)
            }
        };
        self.put_back(&work.lease, self.ctx.now() + wait, attempts)
            .await;
        Progress::Rests
    }

    async fn commit(&self, work: &Work, outcome: Outcome) -> Result<(), StepError> {
        let Outcome {
            writes,
            disposition,
        } = outcome;
        let ctx = &self.ctx;
        let committed = ctx
            .store
            .commit(&work.lease, &writes, disposition, ctx.now());
        match committed.await? {
            true => Ok(()),
            false => Err(StepError::LeaseLost),
        }
    }

    async fn put_back(&self, lease: &Lease, until: Timestamp, attempts: i64) {
        let disposition = Disposition::Postpone { until, attempts };
        let committed = self
            .ctx
            .store
            .commit(lease, &[], disposition, self.ctx.now());
        if let Err(error) = committed.await {
            // The lease expires by itself, and the step is due again then.
            error!("cannot reschedule a step: {error}");
        }
    }

    /// Shortens the lease of a cancelled step, so that another process can soon take it over.
    async fn shorten(&self, lease: &Lease) {
        let renewed = self.ctx.store.renew(lease, self.ctx.now(), CUT_OFF_LEASE);
        if let Err(error) = renewed.await {
            warn!("cannot release the lease of a step; it expires by itself: {error}");
        }
    }

    /// Renews a lease until that fails.
    async fn renew(&self, lease: &Lease) {
        loop {
            self.ctx.clock.sleep(LEASE / 3).await;
            let renewed = self.ctx.store.renew(lease, self.ctx.now(), LEASE);
            if let Ok(false) = renewed.await {
                return;
            }
        }
    }
}

/// The span of a step. A run's site and delivery are recorded once the run is read.
fn span(work: &Work) -> Span {
    let attempts = work.attempts;
    match &work.key {
        WorkKey::Run(run) => {
            info_span!("run", %run, site = Empty, delivery = Empty, attempts)
        }
        WorkKey::Status(run) => info_span!("report", %run, attempts),
        WorkKey::Submit { account, kind } => {
            info_span!(
                "submit",
                account = account.as_str(),
                kind = kind.as_str(),
                attempts
            )
        }
        WorkKey::Follow { account, kind } => {
            info_span!(
                "follow",
                account = account.as_str(),
                kind = kind.as_str(),
                attempts
            )
        }
        WorkKey::Reconcile { site } => info_span!("reconcile", site, attempts),
        WorkKey::ConfirmHeads { site } => info_span!("confirm_heads", site, attempts),
        WorkKey::Remove => info_span!("retention", attempts),
    }
}

/// Waits for running steps; false if some are still running after `limit`.
async fn finish(running: &mut RunningSteps, limit: Duration) -> bool {
    let all = async { while running.join_next().await.is_some() {} };
    tokio::time::timeout(limit, all).await.is_ok()
}

/// The time from `then` to `now`; zero if the clock was set back in between.
fn since(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Returns `grace` after `stop` turned true or its sender is gone.
async fn stopped(stop: &mut watch::Receiver<bool>, grace: Duration) {
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(grace).await;
}
