//! The image's build finds all that it needs: what `.dockerignore` lets in and `Dockerfile` copies is enough.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const DOCKERFILE: &str = include_str!("../Dockerfile");
const IGNORED: &str = include_str!("../.dockerignore");

/// What is copied from the project, in the first stage.
fn copied() -> BTreeSet<&'static str> {
    let lines = DOCKERFILE
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let own = lines.filter(|line| !line.starts_with("--from"));
    own.flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' '))
        .collect()
}

#[test]
fn what_is_copied_into_the_image_is_let_in_and_nothing_else_is() {
    let lines = IGNORED.lines().filter(|line| !line.starts_with('#'));
    let (all, let_in): (Vec<&str>, Vec<&str>) = lines.partition(|line| !line.starts_with('!'));

    assert_eq!(all, ["*"]);
    assert_eq!(
        let_in
            .iter()
            .map(|line| &line[1..])
            .collect::<BTreeSet<_>>(),
        copied()
    );
}

#[test]
fn what_is_copied_into_the_image_is_enough_to_build_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The same place each time: cargo keeps what it built for each place.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    for name in copied() {
        let to = folder.join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copy = Command::new("cp")
            .arg("-r")
            .arg(root.join(name))
            .arg(to)
            .status();
        assert!(copy.unwrap().success(), "{name}");
    }
    // Beside this test's own programs: what the lints and the documentation need of the crates it depends on is there.
    let target = Path::new(env!("CARGO_BIN_EXE_purgehook"))
        .ancestors()
        .nth(2)
        .unwrap();
    let mut check = Command::new(env!("CARGO"));
    check
        .args(["check", "--locked", "--offline", "--quiet", "--lib"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", target);
    // cargo tells tests of their package. Some crates are built anew if these variables change, and then once more by
    // whoever comes next.
    for (name, _) in std::env::vars_os() {
        let of_package = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if of_package {
            check.env_remove(name);
        }
    }
    let output = check.output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
