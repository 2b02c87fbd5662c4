//! The command line: commands and their options.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::cause;
use crate::changes::ChangeKind;
use crate::commands;
use crate::commands::options::{DatabaseOption, ListenOption, RulesFile, ServerOptions};

/// Keeps CDNs in step with a git repository: signed push webhooks become purges
/// of exactly what changed, and a status on the commit.
#[derive(Parser)]
#[command(name = "purgehook", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 it failed or found problems, 2 wrong usage.\n\
    First time here? `purgehook demo` shows everything at work, without any account; `purgehook init` sets up a site.";

#[derive(Subcommand)]
enum Command {
    /// Write a rules file for a site, and a file for its secrets
    Init {
        #[command(flatten)]
        given: commands::init::Given,
    },
    /// Receive webhooks, purge, report
    Serve {
        #[command(flatten)]
        rules: RulesFile,
        #[command(flatten)]
        options: ServerOptions,
    },
    /// Check the rules file and show every problem in it
    Check {
        #[command(flatten)]
        rules: RulesFile,
        /// Treat missing secrets as errors, as `serve` does
        #[arg(long)]
        strict: bool,
        /// Ask the forges and CDNs as well: tokens, webhooks, keys, clocks. Changes nothing anywhere
        #[arg(long)]
        online: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a change would purge; sends nothing
    Plan {
        #[command(flatten)]
        rules: RulesFile,
        /// The site, by its name in the rules file [default: the only one]
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        #[command(flatten)]
        change: commands::plan::Change,
        #[command(flatten)]
        options: DatabaseOption,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which rules fire for a path, why, and what they purge; or which rules could purge a URL
    Explain {
        #[command(flatten)]
        rules: RulesFile,
        /// The site, by its name in the rules file [default: every site]
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        /// How the path changed
        #[arg(long, value_name = "CHANGE", default_value = "changed", value_parser = change_kind)]
        change: ChangeKind,
        /// A path in the repository, or a full URL
        #[arg(value_name = "PATH|URL")]
        what: OsString,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the cases under `tests:` in the rules file
    Test {
        #[command(flatten)]
        rules: RulesFile,
        /// The site, by its name in the rules file [default: every site]
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the rules file, for editors
    Schema,
    /// List runs, newest first
    Runs {
        #[command(flatten)]
        rules: RulesFile,
        #[command(flatten)]
        options: DatabaseOption,
        /// Only runs of this site
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        /// Only runs in this state: pending, succeeded, failed, errored, superseded, cancelled
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print everything stored about a run as JSON: its delivery, changed files, purges, tasks and statuses
    Export {
        #[command(flatten)]
        rules: RulesFile,
        #[command(flatten)]
        options: DatabaseOption,
        /// The run's id
        run: String,
    },
    /// Start a run by hand, for the changes since the last success or for everything
    Run {
        #[command(flatten)]
        rules: RulesFile,
        #[command(flatten)]
        options: ServerOptions,
        /// The site, by its name in the rules file
        site: String,
        /// The branch whose head the CDNs shall serve [default: the only one the site follows]
        #[arg(long, value_name = "NAME")]
        branch: Option<String>,
        /// Purge everything the site serves: its root directories on every CDN
        #[arg(long)]
        everything: bool,
    },
    /// Test the path from the forge's webhook to a site: sends the running server a signed delivery that starts nothing
    Trigger {
        #[command(flatten)]
        rules: RulesFile,
        #[command(flatten)]
        options: ListenOption,
        /// The site, by its name in the rules file
        site: String,
        /// The branch that the delivery names [default: the first that the site names]
        #[arg(long, value_name = "NAME")]
        branch: Option<String>,
        /// The server's address, e.g. that of its proxy in `public_url` [default: where it listens]
        #[arg(long, value_name = "URL")]
        url: Option<url::Url>,
    },
    /// Retry a failed run from where it failed
    Retry {
        #[command(flatten)]
        rules: RulesFile,
        #[command(flatten)]
        options: DatabaseOption,
        /// The run's id
        run: String,
    },
    /// Give up a target that its CDN refuses: the run goes on without it, and later runs leave it out until it changes
    Skip {
        #[command(flatten)]
        rules: RulesFile,
        #[command(flatten)]
        options: DatabaseOption,
        /// The run's id
        run: String,
        /// The URL, as the run's page shows it
        target: String,
    },
    /// Run the whole program against stand-ins for GitHub, GitLab and the CDNs; needs no account
    Demo {
        /// Where to serve the pages
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
        listen: String,
        /// Stop at the end instead of serving the pages
        #[arg(long)]
        exit: bool,
    },
    /// Ask a running server whether it is ready; for containers
    Healthcheck {
        /// Where it listens
        #[arg(
            long,
            value_name = "HOST:PORT",
            env = "PURGEHOOK_LISTEN",
            default_value = "127.0.0.1:8080"
        )]
        listen: String,
    },
}

/// A kind of change by its name in the rules file.
fn change_kind(word: &str) -> Result<ChangeKind, String> {
    let words = ChangeKind::ALL.map(ChangeKind::as_str).join(", ");
    word.parse().map_err(|_| format!("it takes {words}"))
}

/// Parses the command line; ends the program if it is invalid.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| with_tip(error).exit())
}

/// A command-line error, with a tip if a rules file is named without its option.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let file = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) if error.kind() == ErrorKind::UnknownArgument => {
            argument.clone()
        }
        Some(_) | None => return error,
    };
    let lower = file.to_ascii_lowercase();
    if [".yaml", ".yml"].iter().any(|end| lower.ends_with(end)) {
        let tip = StyledStr::from(format!(
            "the rules file is named by an option: --rules {file}"
        ));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Runs the command.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Init { given } => commands::init::run(&given),
        Command::Serve { rules, options } => commands::serve::run(&rules.rules, &options).await,
        Command::Check {
            rules,
            strict,
            online,
            json,
        } => commands::check::run(&rules.rules, strict, online, json).await,
        Command::Plan {
            rules,
            site,
            change,
            options,
            json,
        } => commands::plan::run(&rules.rules, &options, site.as_deref(), &change, json).await,
        Command::Explain {
            rules,
            site,
            change,
            what,
            json,
        } => commands::explain::run(&rules.rules, site.as_deref(), &what, change, json),
        Command::Test { rules, site, json } => {
            commands::test::run(&rules.rules, site.as_deref(), json)
        }
        Command::Schema => Ok(commands::schema::run()),
        Command::Runs {
            rules,
            options,
            site,
            state,
            limit,
            json,
        } => commands::runs::run(&rules.rules, &options, site, state.as_deref(), limit, json).await,
        Command::Export {
            rules,
            options,
            run,
        } => commands::export::run(&rules.rules, &options, run).await,
        Command::Run {
            rules,
            options,
            site,
            branch,
            everything,
        } => commands::run::run(&rules.rules, &options, &site, branch.as_deref(), everything).await,
        Command::Trigger {
            rules,
            options,
            site,
            branch,
            url,
        } => commands::trigger::run(&rules.rules, &options, &site, branch.as_deref(), url).await,
        Command::Retry {
            rules,
            options,
            run,
        } => commands::retry::run(&rules.rules, &options, run).await,
        Command::Skip {
            rules,
            options,
            run,
            target,
        } => commands::skip::run(&rules.rules, &options, run, &target).await,
        Command::Demo { listen, exit } => commands::demo::run(&listen, exit).await,
        Command::Healthcheck { listen } => commands::healthcheck::run(&listen).await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", cause::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
