//! What happens in a world before all is well.
//!
//! Each world has habits of its own: some things happen in it again and again and others
//! never, so that what is rare in all worlds together is frequent in some.

use std::sync::Arc;

use super::World;
use crate::caches::Tree;
use crate::cdn::Account;
use crate::forge::Delivery;
use crate::process::Chance;
use crate::rules::{PATHS, Tells};

/// Something that may happen next.
#[derive(Clone, Copy, Debug)]
enum Event {
    Push,
    /// The live commit is built and deployed again.
    Redeployment,
    /// A delivery that was kept back comes after all.
    LateDelivery,
    /// Somebody sends a delivery again.
    Redelivery,
    /// Somebody sends what an old delivery said as one of their own.
    Replay,
    Visits,
    ForgeTrouble,
    CdnTrouble,
    /// One of them does not answer for a while.
    Outage,
    /// The forge's token or a CDN's keys end, or are mended.
    Refusals,
    DiskTrouble,
    /// Purges fail, or fail no more.
    BadEnds,
    Crash,
    StandStill,
    /// The forge forgets commits that nothing leads to.
    CleanUp,
    /// The repository is renamed, or gets its old name back.
    Rename,
}

const EVENTS: [Event; 16] = [
    Event::Push,
    Event::Redeployment,
    Event::LateDelivery,
    Event::Redelivery,
    Event::Replay,
    Event::Visits,
    Event::ForgeTrouble,
    Event::CdnTrouble,
    Event::Outage,
    Event::Refusals,
    Event::DiskTrouble,
    Event::BadEnds,
    Event::Crash,
    Event::StandStill,
    Event::CleanUp,
    Event::Rename,
];

/// What is so of what happens in a world.
struct Habits {
    /// Each event as often as it is likely.
    events: Vec<Event>,
    /// The longest time between two events, in milliseconds.
    pause: u64,
    /// Pushes in a hundred that take the branch back to what was live before.
    rollbacks: u32,
    /// Deliveries in a hundred that nobody hears of, or only late.
    losses: u32,
}

impl Habits {
    fn new(chance: &Chance, tells_of: Tells) -> Self {
        let mut events = Vec::new();
        for event in EVENTS {
            let times = match event {
                Event::Push => 6,
                // A push does not tell of it.
                Event::Redeployment if tells_of == Tells::Pushes => 0,
                Event::Redeployment => 3,
                Event::Visits => 4,
                Event::CleanUp => usize::from(chance.one_in(6)),
                Event::Rename => usize::from(chance.one_in(4)),
                _ => [0, 1, 1, 4][chance.place(4)],
            };
            events.extend(std::iter::repeat_n(event, times));
        }
        Self {
            events,
            pause: [500, 4_000, 30_000, 90_000, 600_000][chance.place(5)],
            rollbacks: [0, 15, 60][chance.place(3)],
            losses: [0, 20, 50][chance.place(3)],
        }
    }
}

impl World {
    pub(super) async fn script(&mut self) {
        let habits = self.habits();
        self.see_to_it().await;
        let first = self.push(&habits);
        self.deliver(&first).await;
        tokio::time::sleep(self.chance.millis(0..60_000)).await;
        self.visit(50);
        let (mut late, mut past) = (Vec::new(), vec![first]);
        for _ in 0..self.chance.within(4..12) {
            let event = habits.events[self.chance.place(habits.events.len())];
            match event {
                Event::Push | Event::Redeployment => {
                    let delivery = match event {
                        Event::Redeployment => self.deploy_again(),
                        _ => self.push(&habits),
                    };
                    past.push(delivery.clone());
                    if !self.chance.percent(habits.losses) {
                        self.deliver(&delivery).await;
                        if self.chance.one_in(6) {
                            self.deliver(&delivery).await;
                        }
                    } else if self.chance.one_in(2) {
                        self.tell("its delivery is late");
                        late.push(delivery);
                    } else {
                        self.tell("nobody hears of it");
                    }
                }
                Event::LateDelivery => {
                    if let Some(delivery) = late.pop() {
                        self.deliver(&delivery).await;
                    }
                }
                Event::Redelivery => {
                    let delivery = past[self.chance.place(past.len())].clone();
                    self.deliver(&delivery).await;
                }
                Event::Replay => {
                    let delivery = past[self.chance.place(past.len())].clone();
                    let replay = self.host.replay(&delivery, self.chance.one_in(2));
                    self.deliver(&replay).await;
                }
                Event::Visits => self.visit(30),
                Event::Crash => {
                    let seat = self.chance.place(self.lives.len());
                    if let Some(life) = &self.lives[seat] {
                        life.process.light(self.chance.within(0..40));
                    }
                }
                Event::StandStill => {
                    let seat = self.chance.place(self.lives.len());
                    let life = self.lives[seat].as_ref();
                    if let Some(life) = life.filter(|_| self.nature.has_stops) {
                        let length = self.chance.millis(1_000..150_000);
                        life.process.stop_after(self.chance.within(0..40), length);
                        self.accidents += 1;
                    }
                }
                Event::CleanUp => {
                    self.tell("the forge cleans up");
                    self.host.clean_up();
                }
                Event::Rename => self.host.rename(),
                trouble => self.have_trouble(trouble),
            }
            tokio::time::sleep(self.chance.millis(0..habits.pause)).await;
            self.see_to_it().await;
            self.promises.look_at_edge();
        }
    }

    /// The last push: after it nothing goes wrong any more.
    pub(super) fn last_push(&mut self) -> Delivery {
        let habits = self.habits();
        if self.nature.rules.tells_of == Tells::Deployments && self.chance.one_in(3) {
            return self.deploy_again();
        }
        self.push(&habits)
    }

    fn habits(&self) -> Habits {
        Habits::new(&self.chance, self.nature.rules.tells_of)
    }

    /// Somebody pushes. The origin has it before the forge tells of it.
    fn push(&mut self, habits: &Habits) -> Delivery {
        let past = self.past.len();
        let back = (past > 1 && self.chance.percent(habits.rollbacks)).then(|| {
            // To what was live shortly before, as a rule.
            1 + self
                .chance
                .place(past.min(if self.chance.one_in(4) { past } else { 3 }))
        });
        let rolled_back = back.map(|back| self.past[past - back].clone());
        // A branch that stays where it is is no push.
        let head = self.past.last().map(|(commit, _)| commit.clone());
        let rolled_back = rolled_back.filter(|(commit, _)| Some(commit) != head.as_ref());
        let (commit, tree) = if let Some(rolled_back) = rolled_back {
            rolled_back
        } else {
            let mut tree = self
                .past
                .last()
                .map_or_else(Default::default, |(_, tree)| tree.clone());
            for _ in 0..=self.chance.within(0..2) {
                let path = PATHS[self.chance.place(PATHS.len())].to_owned();
                if self.chance.one_in(5) {
                    tree.remove(&path);
                } else {
                    tree.insert(path, self.chance.within(1..1 << 40));
                }
            }
            (self.host.commit(&tree), tree)
        };
        self.tell(&format!("{} goes live", &commit[..8]));
        self.go_live(&commit, &tree);
        self.past.push((commit.clone(), tree));
        match self.nature.rules.tells_of {
            Tells::Pushes => self.host.push(&commit),
            Tells::Deployments => self.host.deploy(&commit),
        }
    }

    /// Somebody builds and deploys the live commit again. Some of the files that it changed are built otherwise.
    fn deploy_again(&mut self) -> Delivery {
        let (commit, tree) = self.past.last().cloned().expect("something is live");
        let mut earlier = self.past.iter().rev();
        let before = earlier.find(|(before, _)| *before != commit);
        let before = before.map_or_else(Tree::new, |(_, tree)| tree.clone());
        let mut built = Vec::new();
        for (path, content) in &tree {
            if before.get(path) != Some(content) && self.chance.percent(70) {
                *self.rebuilt.entry(path.clone()).or_default() += 1;
                built.push(path.as_str());
            }
        }
        self.tell(&format!(
            "{} goes live again, with other {built:?}",
            &commit[..8]
        ));
        self.go_live(&commit, &tree);
        self.host.deploy(&commit)
    }

    fn go_live(&self, commit: &str, tree: &Tree) {
        // Contents are below 2^40.
        let of = |path: &String| self.rebuilt.get(path).copied().unwrap_or(0) << 40;
        let built = tree
            .iter()
            .map(|(path, content)| (path.clone(), content | of(path)));
        self.caches
            .serve(self.time.now(), commit, tree, built.collect());
    }

    /// Something outside begins to go wrong, or to go well again.
    fn have_trouble(&mut self, trouble: Event) {
        let accounts: Vec<&Arc<Account>> = self.accounts.values().collect();
        let account = accounts[self.chance.place(accounts.len())];
        let percent = u32::try_from(self.chance.within(0..60)).unwrap();
        let is_forges = self.chance.one_in(2);
        let wire = if is_forges {
            &self.host.wire
        } else {
            &account.wire
        };
        self.tell(&format!("{trouble:?} {percent} %"));
        match trouble {
            Event::ForgeTrouble => self.host.wire.set_trouble(percent),
            Event::CdnTrouble => account.wire.set_trouble(percent),
            Event::Outage => wire.go_out(self.chance.millis(1_000..240_000)),
            Event::Refusals => wire.set_refuses(percent < 30),
            Event::DiskTrouble => {
                self.disk.set_trouble(percent / 4);
                accounts
                    .iter()
                    .for_each(|account| account.excuse_questions());
            }
            Event::BadEnds => account.set_bad_ends(percent.saturating_sub(20)),
            Event::Push
            | Event::Redeployment
            | Event::LateDelivery
            | Event::Redelivery
            | Event::Replay
            | Event::Visits
            | Event::Crash
            | Event::StandStill
            | Event::CleanUp
            | Event::Rename => {}
        }
    }
}
