//! What the benches share: programs that serve, webhooks to send them, and figures.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod figures;
pub mod past;
pub mod sender;
pub mod server;
pub mod surroundings;
pub mod webhook;

use std::process::{Command, Stdio};

/// A whole number from the environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Keeps whoever measures on the second core.
pub fn pin() {
    let done = Command::new("taskset")
        .args(["--cpu-list", "--pid", "1", &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "it takes two cores, and taskset (util-linux)"
    );
}

/// Runs a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// Whether a word on the command line is a part of a name, or there is none. (Cargo puts `--bench` among them.)
pub fn is_wanted(name: &str) -> bool {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}
