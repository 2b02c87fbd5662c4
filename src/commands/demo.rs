//! `purgehook demo`: everything at work against the sandbox.
use std::process::ExitCode;
/// Runs the show.
pub async fn run(_listen: &str, _exit: bool) -> anyhow::Result<ExitCode> { todo!() }
