//! A system that misbehaves: slow disks, disks that take no writes, names that cannot be resolved.
//!
//! A shim in front of libc (`surroundings.c`) is ordered about by files in a folder.

use std::path::PathBuf;
use std::process::Command;

use crate::world::World;

/// What a program has done with its disk.
#[derive(Clone, Copy)]
pub struct Counts {
    pub fsyncs: u64,
    /// To files at a place of theirs, as databases are written to.
    pub bytes_written: u64,
    /// Of SQLite, beside the database or elsewhere.
    pub temporary_files: u64,
}

/// The orders that hold for a program from its next start on.
pub struct Surroundings(PathBuf);

impl Surroundings {
    /// Puts the shim in front of the program's libc.
    pub fn of(world: &mut World) -> Self {
        let folder = world.folder().join("surroundings");
        std::fs::create_dir(&folder).unwrap();
        let shim = folder.join("shim.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&shim)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/program/surroundings.c"
            ))
            .arg("-ldl")
            .status()
            .expect("a C compiler is here (Debian: gcc)");
        assert!(compiled.success());
        world.set_variable("LD_PRELOAD", shim.to_str().unwrap());
        world.set_variable("PURGEHOOK_SURROUNDINGS", folder.to_str().unwrap());
        Self(folder)
    }

    /// Counts what the program does from its next start on.
    pub fn count(&self) {
        std::fs::write(self.0.join("counts"), [0; 24]).unwrap();
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        let bytes = std::fs::read(self.0.join("counts")).unwrap();
        let mut numbers = bytes.chunks_exact(8).map(|number| {
            let number: [u8; 8] = number.try_into().unwrap();
            u64::from_ne_bytes(number)
        });
        let mut next = || numbers.next().unwrap();
        Counts {
            fsyncs: next(),
            bytes_written: next(),
            temporary_files: next(),
        }
    }

    /// From now on something misbehaves. What there is to order, `surroundings.c` says.
    pub fn order(&self, what: &str, how: &str) {
        // At once, so that nobody reads half an order.
        let unfinished = self.0.join("unfinished");
        std::fs::write(&unfinished, how).unwrap();
        std::fs::rename(unfinished, self.0.join(what)).unwrap();
    }

    /// Takes an order back.
    pub fn take_back(&self, what: &str) {
        std::fs::remove_file(self.0.join(what)).unwrap();
    }
}

/// An address of this machine under a name that the shim knows.
pub fn named(name: &str, url: &str) -> String {
    assert!(name.ends_with(".test"));
    let named = url.replacen("127.0.0.1", name, 1);
    assert_ne!(named, url);
    named
}
