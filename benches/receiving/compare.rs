//! Interleaved rounds, and the table of what they came to.

use std::path::Path;

use crate::disk;
use crate::receivers::{Receiver, present};
use crate::support::figures::median;

/// What one round of one receiver came to. What was not measured is not a number.
#[derive(Clone, Copy)]
pub struct Figures {
    pub per_second: f64,
    /// CPU time for each delivery.
    pub cpu_us: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// The most that was resident at one time.
    pub memory_mb: f64,
    /// Bytes written for each delivery, to files and sockets.
    pub written_kb: f64,
    /// What else a scenario measures, in the order of [`Scenario::more`].
    pub more: [f64; 4],
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            per_second: f64::NAN,
            cpu_us: f64::NAN,
            p50_ms: f64::NAN,
            p99_ms: f64::NAN,
            memory_mb: f64::NAN,
            written_kb: f64::NAN,
            more: [f64::NAN; 4],
        }
    }
}

/// How one figure is read.
pub type Figure = fn(&Figures) -> f64;

/// What purgehook is held to.
pub enum Bar {
    /// A figure of its own is at most so much.
    AtMost(&'static str, Figure, f64),
    /// A figure is at most so much of another receiver's.
    AtMostOf(&'static str, Figure, Receiver, f64),
    /// It takes in so many times as many as another.
    Times(Receiver, f64),
}

/// One round of one receiver, in an empty folder.
pub type Round = Box<dyn Fn(Receiver, &Path) -> Figures>;

/// A way to measure, and who is measured.
pub struct Scenario {
    /// By which it is chosen on the command line.
    pub name: &'static str,
    pub what: String,
    pub receivers: Vec<Receiver>,
    /// More than so many are not worth their time.
    pub most_rounds: u64,
    pub round: Round,
    /// Names of the further figures.
    pub more: &'static [&'static str],
    pub bars: Vec<Bar>,
}

impl Scenario {
    /// Measures all receivers in turn, as often as there are rounds, and prints what it came to.
    pub fn run(&self, rounds: u64) {
        let receivers = present(&self.receivers);
        let rounds: Vec<Vec<Figures>> = (0..rounds.min(self.most_rounds))
            .map(|_| {
                let each = receivers.iter().map(|receiver| {
                    let folder = disk::folder();
                    (self.round)(*receiver, folder.path())
                });
                each.collect()
            })
            .collect();
        Table {
            scenario: self,
            receivers,
            rounds,
        }
        .print();
    }
}

struct Table<'s> {
    scenario: &'s Scenario,
    receivers: Vec<Receiver>,
    /// By round and receiver.
    rounds: Vec<Vec<Figures>>,
}

impl Table<'_> {
    fn place(&self, receiver: Receiver) -> Option<usize> {
        self.receivers.iter().position(|one| *one == receiver)
    }

    fn figure(&self, receiver: Receiver, figure: impl Fn(&Figures) -> f64) -> f64 {
        let Some(place) = self.place(receiver) else {
            return f64::NAN;
        };
        median(self.rounds.iter().map(|round| figure(&round[place])))
    }

    /// The median of the ratios within the rounds.
    fn ratio(&self, of: Receiver, to: Receiver, figure: impl Fn(&Figures) -> f64) -> f64 {
        let (Some(of), Some(to)) = (self.place(of), self.place(to)) else {
            return f64::NAN;
        };
        median(
            self.rounds
                .iter()
                .map(|round| figure(&round[of]) / figure(&round[to])),
        )
    }

    fn print(&self) {
        println!("\n{}: {}", self.scenario.name, self.scenario.what);
        let mut columns = vec![
            "a second",
            "CPU us each",
            "of node's",
            "p50 ms",
            "p99 ms",
            "RSS MB",
            "kB each",
            "x node",
            "x plain",
            "x base",
        ];
        columns.extend(self.scenario.more);
        let rows: Vec<(&str, Vec<String>)> = self
            .receivers
            .iter()
            .map(|receiver| (receiver.name(), self.row(*receiver)))
            .collect();
        // Without what nobody has.
        let kept: Vec<usize> = (0..columns.len())
            .filter(|at| rows.iter().any(|(_, row)| row[*at] != "-"))
            .collect();
        let width = |at: usize| columns[at].len().max(7) + 2;
        print!("  {:<10}", "");
        for at in &kept {
            print!("{:>1$}", columns[*at], width(*at));
        }
        println!();
        for (name, row) in rows {
            print!("  {name:<10}");
            for at in &kept {
                print!("{:>1$}", row[*at], width(*at));
            }
            println!();
        }
        for bar in &self.scenario.bars {
            self.print_bar(bar);
        }
    }

    fn row(&self, receiver: Receiver) -> Vec<String> {
        let own = |figure: Figure| self.figure(receiver, figure);
        let times = |other: Receiver| {
            if receiver == other {
                return f64::NAN;
            }
            let per_second = self.ratio(receiver, other, |figures| figures.per_second);
            if per_second.is_nan() || self.is_paced() {
                // By what each costs, where a rate is given.
                return 1.0 / self.ratio(receiver, other, |figures| figures.cpu_us);
            }
            per_second
        };
        let cpu = self.ratio(receiver, Receiver::Node, |figures| figures.cpu_us);
        let mut row = vec![
            shown(own(|figures| figures.per_second), 0),
            shown(own(|figures| figures.cpu_us), 0),
            shown(cpu, 2),
            shown(own(|figures| figures.p50_ms), 2),
            shown(own(|figures| figures.p99_ms), 2),
            shown(own(|figures| figures.memory_mb), 0),
            shown(own(|figures| figures.written_kb), 1),
            shown(times(Receiver::Node), 2),
            shown(times(Receiver::Plain), 2),
            shown(times(Receiver::Base), 2),
        ];
        for at in 0..self.scenario.more.len() {
            row.push(shown(self.figure(receiver, |figures| figures.more[at]), 2));
        }
        row
    }

    /// Whether all take in the same, since the sender holds a rate.
    fn is_paced(&self) -> bool {
        self.scenario.name == "open"
    }

    fn print_bar(&self, bar: &Bar) {
        let (what, figure, met) = match *bar {
            Bar::AtMost(what, figure, most) => {
                let own = self.figure(Receiver::Purgehook, figure);
                (format!("{what} at most {most}"), own, own <= most)
            }
            Bar::AtMostOf(what, figure, other, most) => {
                let ratio = self.ratio(Receiver::Purgehook, other, figure);
                let what = format!("{what} at most {most} of {}'s", other.name());
                (what, ratio, ratio <= most)
            }
            Bar::Times(other, least) => {
                let per_second: Figure = |figures| figures.per_second;
                let ratio = self.ratio(Receiver::Purgehook, other, per_second);
                let what = format!("at least {least} times {}", other.name());
                (what, ratio, ratio >= least)
            }
        };
        if figure.is_nan() {
            return;
        }
        let met = if met { "met" } else { "NOT MET" };
        println!("  bar: {what}: {}: {met}", shown(figure, 2));
    }
}

fn shown(figure: f64, digits: usize) -> String {
    if figure.is_nan() {
        "-".to_owned()
    } else {
        format!("{figure:.digits$}")
    }
}
