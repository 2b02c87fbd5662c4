//! Tables on pages that are made from the program: compared, or written when asked to.

use clap::{Arg, Command, CommandFactory};
use purgehook::cli::Cli;

use super::{Page, root};

/// Asks for the pages to be written in place of being compared.
const BLESS: &str = "PURGEHOOK_BLESS";

/// Holds what stands between `<!-- generated: NAME -->` and `<!-- end -->` on a page to a text.
pub(super) fn hold(page: &str, name: &str, text: &str) {
    let Page {
        name: path,
        text: old,
    } = Page::read(page);
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = old
        .split_once(&start)
        .unwrap_or_else(|| panic!("{page} has no place for `{name}`: {start}"));
    let (now, after) = rest
        .split_once("<!-- end -->")
        .unwrap_or_else(|| panic!("{page}: `{name}` has no end: <!-- end -->"));
    let wanted = format!("\n{}\n\n", text.trim());
    if std::env::var_os(BLESS).is_some() {
        let new = format!("{before}{start}{wanted}<!-- end -->{after}");
        std::fs::write(root().join(path), new).unwrap();
        return;
    }
    assert!(
        now == wanted,
        "{page}: `{name}` is out of date; write it anew: {BLESS}=1 cargo test --test program docs\n{}",
        first_difference(now, &wanted)
    );
}

/// The first line that differs.
fn first_difference(now: &str, wanted: &str) -> String {
    let mut now = now.lines();
    for line in wanted.lines() {
        match now.next() {
            Some(same) if same == line => {}
            Some(other) => return format!("- {other}\n+ {line}"),
            None => return format!("+ {line}"),
        }
    }
    now.next()
        .map(|more| format!("- {more}"))
        .unwrap_or_default()
}

/// A cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|").replace('\n', " ")
}

/// What the command line says of its commands, as Markdown.
fn command_pages() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = String::from("| command | what it does |\n| --- | --- |\n");
    let commands = || {
        root.get_subcommands()
            .filter(|command| command.get_name() != "help" && !command.is_hide_set())
    };
    for command in commands() {
        let name = command.get_name();
        page.push_str(&format!(
            "| [`purgehook {name}`](#{name}) | {} |\n",
            cell(&about(command))
        ));
    }
    for command in commands() {
        page.push_str(&one_command(command));
    }
    page
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn one_command(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let mut page = format!(
        "\n## {}\n\n{}.\n\n```text\n{usage}\n```\n",
        command.get_name(),
        about(command)
    );
    let shown =
        |arg: &&Arg| !["help", "version"].contains(&arg.get_id().as_str()) && !arg.is_hide_set();
    let mut arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    arguments.sort_by_key(|argument| !argument.is_positional());
    if arguments.is_empty() {
        return page;
    }
    page.push_str("\n| option | meaning | variable |\n| --- | --- | --- |\n");
    for argument in arguments {
        let variable = argument.get_env().and_then(std::ffi::OsStr::to_str);
        page.push_str(&format!(
            "| `{}` | {} | {} |\n",
            cell(&spelled(argument)),
            cell(&meaning(argument)),
            variable.map(|name| format!("`{name}`")).unwrap_or_default()
        ));
    }
    page
}

/// How an argument is typed.
fn spelled(argument: &Arg) -> String {
    let values: Vec<String> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| format!("<{name}>"))
        .collect();
    let takes_value = argument.get_action().takes_values();
    match argument.get_long() {
        Some(long) if takes_value => format!("--{long} {}", values.join(" ")),
        Some(long) => format!("--{long}"),
        None => values.join(" "),
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .filter_map(|value| value.to_str())
        .collect();
    if defaults.is_empty() || !argument.get_action().takes_values() {
        return help;
    }
    format!("{help} [default: {}]", defaults.join(" "))
}

/// The variables that options read.
fn variables(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(Arg::get_env);
    let mut names: Vec<String> = own
        .filter_map(|name| name.to_str().map(str::to_owned))
        .collect();
    names.extend(command.get_subcommands().flat_map(variables));
    names
}

#[test]
fn the_reference_of_the_environment_has_every_variable_of_an_option() {
    let page = Page::read("docs/reference/environment.md").text;

    for name in variables(&Cli::command()) {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[test]
fn the_reference_of_commands_is_what_the_program_says() {
    hold("docs/reference/commands.md", "commands", &command_pages());
}
