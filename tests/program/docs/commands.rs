//! Every command that the documentation names is one.

use clap::{CommandFactory, Parser};
use purgehook::cli::Cli;

use super::shell::commands;
use super::{pages, root};

/// Commands of others that an example may use, before ours.
const OTHERS: &[&str] = &["docker", "git"];

/// What is wrong with a command, if anything.
fn mistake(command: &[String]) -> Option<String> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["purgehook", ..] => parse(&words),
        ["cargo", "run", "--", rest @ ..] => parse(&with_program(rest)),
        ["cargo", "test", "--lib", room, ..] => {
            exists(&[&format!("src/{room}.rs"), &format!("src/{room}/mod.rs")])
        }
        ["cargo", "test", "--test", name, ..] => exists(&[
            &format!("tests/{name}.rs"),
            &format!("tests/{name}/main.rs"),
        ]),
        ["cargo", "bench", "--bench", name, ..] => exists(&[
            &format!("benches/{name}.rs"),
            &format!("benches/{name}/main.rs"),
        ]),
        ["cargo", "install", "--path", ".", "--locked"] | ["cargo", "deny", "check"] => None,
        [script, ..] if script.contains('/') => exists(&[script]),
        [other, ..] if OTHERS.contains(other) => None,
        _ => Some(
            "the test does not know it: mark the block `not-run`, or teach the test".to_owned(),
        ),
    }
}

/// The words of a command line after the program's name, with it.
fn with_program<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let mut all = vec!["purgehook"];
    all.extend(words);
    all
}

fn parse(words: &[&str]) -> Option<String> {
    let error = Cli::try_parse_from(words).err()?;
    // `--help` and `--version` come as errors that are none.
    error.use_stderr().then(|| error.to_string())
}

/// What is wrong with a command in a sentence, where its verb alone is its name.
fn mistake_in_a_sentence(command: &[String]) -> Option<String> {
    let [program, verb] = command else {
        return mistake(command);
    };
    if program != "purgehook" || verb.starts_with('-') {
        return mistake(command);
    }
    let known = Cli::command().find_subcommand(verb).is_some();
    (!known).then(|| format!("there is no command {verb}"))
}

/// None, if one of the files is there.
fn exists(names: &[&str]) -> Option<String> {
    let found = names.iter().any(|name| root().join(name).is_file());
    (!found).then(|| format!("there is no {}", names.join(", nor ")))
}

#[test]
fn every_command_in_a_block_is_one() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for block in pages().iter().flat_map(|page| page.blocks()) {
        if block.language != "sh" || block.not_run {
            continue;
        }
        for command in commands(&block.text) {
            seen += 1;
            wrong.extend(
                mistake(&command)
                    .map(|why| format!("{}: {}\n{why}", block.place, command.join(" "))),
            );
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen > 25, "only {seen} were found");
}

/// `purgehook check` in a sentence or a table, too. With brackets it is a usage line, not a command.
#[test]
fn every_command_in_a_sentence_is_one() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        if page.name == "CHANGELOG.md" {
            continue;
        }
        let prose = page.prose().replace("\\|", "|");
        for code in prose.split('`').skip(1).step_by(2) {
            let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
            let ours = ["purgehook ", "cargo "]
                .iter()
                .any(|start| code.contains(start));
            if !ours || code.contains(['[', '|', '…']) || code.contains("...") {
                continue;
            }
            for command in commands(&code) {
                if !["purgehook", "cargo"].contains(&command[0].as_str()) {
                    continue;
                }
                seen += 1;
                wrong.extend(
                    mistake_in_a_sentence(&command)
                        .map(|why| format!("{}: `{code}`\n{why}", page.name)),
                );
            }
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen > 40, "only {seen} were found");
}

#[test]
fn a_command_that_is_none_is_found() {
    let wrong = |line: &str| mistake(&commands(line)[0]).is_some();

    assert!(!wrong("purgehook check --strict"));
    assert!(wrong("purgehook chekc"));
    assert!(wrong("purgehook check --online-and-more"));
    assert!(wrong("cargo bench --bench nothing"));
    assert!(wrong("systemctl restart purgehook"));
    assert!(wrong("purgehook plan"), "it plans nothing by itself");
    assert!(mistake_in_a_sentence(&commands("purgehook plan")[0]).is_none());
    assert!(mistake_in_a_sentence(&commands("purgehook paln")[0]).is_some());
}
