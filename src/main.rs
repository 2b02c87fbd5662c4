//! The `purgehook` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use purgehook::cli;

fn main() -> ExitCode {
    let cli = cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run(cli));
    // A running name lookup blocks its thread for as long as the resolver takes: do not wait for it.
    runtime.shutdown_background();
    code
}
