//! Who is measured beside each other.

use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::node;
use crate::support::server::{self, Server};
use crate::support::webhook::SECRET;

/// Set in the child that serves for comparison: its name.
const CHILD: &str = "RECEIVING_CHILD";
/// Another build of purgehook, measured in the same rounds.
const BASE: &str = "PURGEHOOK_BIN_BASE";

/// Something that takes webhooks in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// The program itself.
    Purgehook,
    /// Another build of it.
    Base,
    /// A Node receiver with the forge's own library and SQLite.
    Node,
    /// A plain program that keeps each delivery, and does nothing else.
    Plain,
    /// A server that reads and throws away.
    Bare,
}

impl Receiver {
    pub fn name(self) -> &'static str {
        match self {
            Self::Purgehook => "purgehook",
            Self::Base => "base",
            Self::Node => "node",
            Self::Plain => "plain",
            Self::Bare => "bare",
        }
    }

    /// Whether it is there to be measured: `RECEIVING_ONLY` names those that are wanted.
    fn is_there(self) -> bool {
        let only = std::env::var("RECEIVING_ONLY").ok();
        let wanted = only.is_none_or(|only| only.split(',').any(|name| name == self.name()));
        wanted
            && match self {
                Self::Base => std::env::var_os(BASE).is_some(),
                Self::Node => node_folder().is_some(),
                Self::Purgehook | Self::Plain | Self::Bare => true,
            }
    }

    /// Starts it in an empty folder, with the rules that purgehook is to have there.
    pub fn start(self, folder: &Path, rules: &str, disk: &Disk) -> Server {
        match self {
            Self::Purgehook | Self::Base => {
                self.start_on("sqlite://purgehook.db", folder, rules, disk)
            }
            Self::Node => Server::start(folder, |command| {
                disk.put_under(command)
                    .arg("node")
                    .arg(node_folder().unwrap().join("server.js"))
                    .env("DATABASE", "node.db")
                    .env("SECRET", SECRET)
            }),
            Self::Plain | Self::Bare => Server::start(folder, |command| {
                disk.put_under(command)
                    .arg(std::env::current_exe().unwrap())
                    .env(CHILD, self.name())
            }),
        }
    }
}

impl Receiver {
    /// Starts a build of purgehook on a database.
    pub fn start_on(self, database: &str, folder: &Path, rules: &str, disk: &Disk) -> Server {
        let program = match self {
            Self::Purgehook => server::program(),
            Self::Base => std::env::var_os(BASE).map(PathBuf::from).unwrap(),
            Self::Node | Self::Plain | Self::Bare => panic!("{} has its own", self.name()),
        };
        std::fs::write(folder.join("rules.yaml"), rules).unwrap();
        Server::purgehook_of(&program, folder, database, |command| {
            disk.put_under(command)
        })
    }
}

/// Those of a list that are there.
pub fn present(receivers: &[Receiver]) -> Vec<Receiver> {
    receivers
        .iter()
        .copied()
        .filter(|receiver| receiver.is_there())
        .collect()
}

/// The name of the receiver that this process is to be, if it is a child.
pub fn child() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Where Node's receiver is; said once if it cannot be had.
fn node_folder() -> Option<PathBuf> {
    static FOLDER: std::sync::OnceLock<Option<PathBuf>> = std::sync::OnceLock::new();
    FOLDER
        .get_or_init(|| {
            node::install()
                .inspect_err(|why| eprintln!("without Node: {why}"))
                .ok()
        })
        .clone()
}
