//! What the documentation shows of the commands is what they print.

use std::path::Path;
use std::process::{Command, Output};

use super::{Block, Page, root};

/// A line typed in a block, and what it shows below.
struct Shown {
    typed: String,
    printed: String,
}

/// The block of a page that begins with a line.
fn block(page: &str, first: &str) -> Block {
    let blocks = Page::read(page).blocks().into_iter();
    let mut found = blocks.filter(|block| block.text.starts_with(first));
    let block = found
        .next()
        .unwrap_or_else(|| panic!("{page} shows no {first}"));
    assert!(found.next().is_none(), "{page} shows {first} twice");
    block
}

/// Everything typed in a block.
fn shown_in(block: &Block) -> Vec<Shown> {
    let parts = block.text.split("$ ").skip(1);
    let shown = parts.map(|part| {
        let (typed, printed) = part.split_once('\n').unwrap();
        Shown {
            typed: typed.to_owned(),
            printed: printed.trim_end().to_owned(),
        }
    });
    shown.collect()
}

/// Runs a line with a rules file, in a folder.
fn run(typed: &str, rules: &Path, folder: &Path) -> Output {
    let words = typed.strip_prefix("purgehook ").unwrap().split(' ');
    Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args(words)
        .env("PURGEHOOK_RULES", rules)
        .env("GITHUB_WEBHOOK_SECRET", "a secret of the tests")
        .env("GITHUB_TOKEN", "a token of the tests")
        .env("TENCENTCLOUD_SECRET_ID", "an id of the tests")
        .env("TENCENTCLOUD_SECRET_KEY", "a key of the tests")
        .current_dir(folder)
        .output()
        .unwrap()
}

/// What a line prints with the example file.
fn printed(typed: &str, folder: &Path) -> String {
    let output = run(typed, &root().join("rules.yaml"), folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{typed}: {said}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn explanations_and_plans_of_the_example_are_as_the_guide_shows_them() {
    let guide = "docs/guides/rules.md";
    let folder = tempfile::tempdir().unwrap();
    let explained = shown_in(&block(guide, "$ purgehook explain"));
    let mut planned = shown_in(&block(guide, "$ cat changes"));
    let input = planned.remove(0);
    std::fs::write(folder.path().join("changes"), input.printed).unwrap();

    assert_eq!((explained.len(), planned.len()), (2, 1));
    for shown in explained.iter().chain(&planned) {
        assert_eq!(
            printed(&shown.typed, folder.path()),
            shown.printed,
            "{}",
            shown.typed
        );
    }
}

#[test]
fn mistakes_are_shown_as_the_reference_shows_them() {
    let shown = shown_in(&block("docs/reference/rules-file.md", "$ purgehook check"));
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = std::fs::read_to_string(root().join("rules.yaml")).unwrap();
    for (right, typo) in [
        ("    cdns: [tencent]\n", "    cdns: [tencnt]\n"),
        ("[\"/{page|hugo}\"]", "[\"/{pgae}\"]"),
    ] {
        assert!(wrong.contains(right), "{right}");
        wrong = wrong.replacen(right, typo, 1);
    }
    std::fs::write(folder.path().join("rules.yaml"), wrong).unwrap();

    let output = run(&shown[0].typed, Path::new("rules.yaml"), folder.path());

    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    // Warnings come too, such as that of a missing public address.
    let errors: Vec<&str> = said
        .split("\n\n")
        .filter(|part| part.starts_with("error: "))
        .collect();
    let expected: Vec<&str> = shown[0]
        .printed
        .split("\n\n")
        .filter(|part| part.starts_with("error: "))
        .collect();
    assert_eq!(errors, expected, "{said}");
}

/// A text without what differs from run to run: ports, ids of runs, commits.
fn without_chance(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let (bare, colon) = word
            .strip_suffix(':')
            .map_or((word, ""), |bare| (bare, ":"));
        let is_commit = bare.len() == 8 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let run = word
            .rsplit_once("/runs/")
            .filter(|_| word.starts_with("http://127.0.0.1:"));
        words.push(match run {
            Some(_) => "http://127.0.0.1/runs/RUN".to_owned(),
            None if is_commit => format!("COMMIT{colon}"),
            None => word.to_owned(),
        });
    }
    words.join(" ")
}

/// The lines of text in a picture.
fn lines_of_picture(name: &str) -> Vec<String> {
    let picture = std::fs::read_to_string(root().join(name)).unwrap();
    let lines = picture.split("<text ").skip(1).map(|line| {
        let (line, _) = line.split_once("</text>").unwrap();
        let (_, line) = line.split_once('>').unwrap();
        let mut text = String::new();
        let mut in_tag = false;
        for c in line.chars() {
            match c {
                '<' => in_tag = true,
                '>' if in_tag => in_tag = false,
                c if !in_tag => text.push(c),
                _ => {}
            }
        }
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    });
    lines.collect()
}

#[test]
fn the_demo_prints_what_the_readmes_and_their_pictures_show() {
    let output = Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args(["demo", "--exit", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<String> = printed.lines().map(without_chance).collect();

    let mut shown = Vec::new();
    for readme in ["README.md", "docs/zh/README.md"] {
        let block = block(readme, "* GitHub: a post and a stylesheet change");
        shown.extend(block.text.lines().map(str::to_owned));
    }
    for picture in ["docs/images/demo-light.svg", "docs/images/demo-dark.svg"] {
        let lines = lines_of_picture(picture);
        assert!(lines.len() > 12, "{picture}: {lines:?}");
        shown.extend(lines);
    }
    for line in shown {
        if line.starts_with('$') {
            continue;
        }
        // A long line ends with dots in the picture.
        let start = without_chance(line.trim_end_matches("..."));
        let whole = !line.ends_with("...");
        let found = printed.iter().any(|p| {
            if whole {
                *p == start
            } else {
                p.starts_with(&start)
            }
        });
        assert!(found, "the demo does not print: {line}\n{printed:#?}");
    }
}
