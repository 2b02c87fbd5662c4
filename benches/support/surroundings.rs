//! The tests' shim in front of libc, by which a disk is slow, or what a program does is counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A folder with the shim and its orders.
pub struct Surroundings(PathBuf);

impl Surroundings {
    /// Compiles the shim into a folder.
    pub fn new(folder: &Path) -> Self {
        let folder = folder.join("surroundings");
        fs::create_dir_all(&folder).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.join("shim.so"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/program/surroundings.c"
            ))
            .arg("-ldl")
            .status()
            .expect("a C compiler is here (Debian: gcc)");
        assert!(compiled.success());
        Self(folder)
    }

    /// From now on each fsync takes so much longer.
    pub fn slow_disk(&self, slower: Duration) {
        let ms = slower.as_secs_f64() * 1e3;
        fs::write(self.0.join("sync"), ms.to_string()).unwrap();
    }

    /// Puts the shim in front of a program.
    pub fn put_before<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("LD_PRELOAD", self.0.join("shim.so"))
            .env("PURGEHOOK_SURROUNDINGS", &self.0)
    }
}
