//! What the program uses while nothing happens.

use std::path::Path;
use std::time::Duration;

use crate::compare::{Bar, Figures, Scenario};
use crate::disk::Disk;
use crate::receivers::Receiver::{self, Base, Purgehook};
use crate::rules::{SITES, rules_of_sites};

/// Until it has looked around after its start.
const REST: Duration = Duration::from_secs(3);
const TIME: Duration = Duration::from_secs(20);

pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "idle",
        what: format!("{} s in which nothing happens", TIME.as_secs()),
        receivers: vec![Base, Purgehook],
        most_rounds: 1,
        round: Box::new(round),
        more: &["% of a core"],
        bars: vec![Bar::AtMost("% of a core", |figures| figures.more[0], 0.3)],
    }]
}

fn round(receiver: Receiver, folder: &Path) -> Figures {
    let rules = rules_of_sites(SITES, "live");
    let server = receiver.start(folder, &rules, &Disk::as_it_is(folder));
    std::thread::sleep(REST);
    let before = server.cpu();
    std::thread::sleep(TIME);
    let used = server.cpu() - before;
    let mut figures = Figures {
        memory_mb: server.memory_kb("VmHWM") as f64 / 1_024.0,
        ..Figures::default()
    };
    figures.more[0] = used.as_secs_f64() / TIME.as_secs_f64() * 100.0;
    figures
}
