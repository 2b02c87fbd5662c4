//! The `purgehook` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use purgehook::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run(cli));
    // A name that is being looked up holds its thread for as long as the resolver likes: not waited for.
    runtime.shutdown_background();
    code
}
