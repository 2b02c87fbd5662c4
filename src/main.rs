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
    // A name that is being looked up holds its thread for as long as the resolver likes: not waited for.
    runtime.shutdown_background();
    code
}
