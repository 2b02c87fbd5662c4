//! `purgehook healthcheck`: whether a running server is ready, for containers without other tools.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::loopback;
use crate::clock::Clock;
use crate::http::Outbound;

/// Requests `/readyz`; fails unless it answers 200 within five seconds.
pub async fn run(listen: &str) -> anyhow::Result<ExitCode> {
    let url = format!("http://{}/readyz", loopback(listen));
    let answer = Outbound::direct(Clock::system())?
        .http
        .get(&url)
        .timeout(Duration::from_secs(5))
        .send()
        .await
        .with_context(|| format!("no answer from {url}"))?;
    if !answer.status().is_success() {
        bail!("{url} answered {}", answer.status());
    }
    println!("ready");
    Ok(ExitCode::SUCCESS)
}
