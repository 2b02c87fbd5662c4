//! The Node receiver: its packages come from npm once, into a folder of the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// With versions that its `package.json` pins; a file that locks them would name a registry.
const INSTALL: [&str; 5] = [
    "install",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
];
const FILES: [&str; 2] = ["package.json", "server.js"];

/// Installs what it needs, unless it was done before; the folder to start it in, or why it cannot be.
pub fn install() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/receiving/node");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("receiving-node");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut changed = !folder.join("installed").exists();
    for file in FILES {
        let text = fs::read(source.join(file)).map_err(|error| error.to_string())?;
        if fs::read(folder.join(file)).is_ok_and(|copy| copy == text) {
            continue;
        }
        changed |= file == "package.json";
        fs::write(folder.join(file), text).map_err(|error| error.to_string())?;
    }
    if changed {
        eprintln!(
            "npm {}: this takes a minute or two, once",
            INSTALL.join(" ")
        );
        let done = Command::new("npm")
            .args(INSTALL)
            .current_dir(&folder)
            .status()
            .map_err(|error| format!("npm does not start: {error}"))?;
        if !done.success() {
            return Err(format!("npm ended with {done}"));
        }
        fs::write(folder.join("installed"), "").map_err(|error| error.to_string())?;
    }
    Ok(folder)
}
