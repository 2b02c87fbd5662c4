//! The image's build finds all that it needs: what `.dockerignore` lets in and `Dockerfile` copies is enough.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

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
fn what_the_compiler_reads_is_copied_into_the_image() {
    let copied = copied();

    let read = read_for_the_library();

    for file in [
        "src/lib.rs",
        "templates/run.html",
        "templates/style.css",
        "schema/rules.schema.json",
        "presets/hugo.yaml",
    ] {
        assert!(read.contains(Path::new(file)), "{file} was not read");
    }
    for file in &read {
        let is_copied = copied.iter().any(|each| file.starts_with(each));
        assert!(is_copied, "{} is not copied", file.display());
    }
}

#[test]
fn cargo_finds_what_the_manifest_names_in_the_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = TempDir::new().unwrap();
    for name in copied() {
        let to = folder.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copy = Command::new("cp")
            .arg("-r")
            .arg(root.join(name))
            .arg(to)
            .status();
        assert!(copy.unwrap().success(), "{name}");
    }

    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(&folder)
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// The files of the project that the compiler read for the library when it was built last, by what cargo keeps beside
/// it: rules for make, which name the product before a colon and the files after it.
fn read_for_the_library() -> BTreeSet<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_purgehook")).with_file_name("deps");
    let rules = std::fs::read_dir(built).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        let is_ours = name.starts_with("purgehook-") && name.ends_with(".d");
        let rules = is_ours.then(|| std::fs::read_to_string(&path).unwrap())?;
        let mut rules = rules.lines().filter_map(|line| line.split_once(": "));
        // The lints and the documentation build none.
        let (product, files) = rules.find(|(product, _)| product.ends_with(".rlib"))?;
        // Another checkout may be built in the same folder. Some files have their whole path.
        if !files.contains(env!("CARGO_MANIFEST_DIR")) {
            return None;
        }
        let built_at = std::fs::metadata(product).ok()?.modified().unwrap();
        Some((built_at, files.to_owned()))
    });
    let (_, files) = rules.max().expect("cargo has built the library");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root.canonicalize().unwrap();
    // A space within a name has a backslash before it.
    let files = files.replace("\\ ", "\0");
    let files = files.split(' ').map(|file| {
        let file = root.join(file.replace('\0', " ")).canonicalize().unwrap();
        file.strip_prefix(&root).unwrap().to_owned()
    });
    files.collect()
}
