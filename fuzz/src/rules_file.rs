//! Any text as a rules file: read whole or refused with words, never with a value of the environment in them.

use purgehook::changes::{ChangeKind, FilePath};
use purgehook::config::{self, ALL_KINDS};

use super::surroundings::{HIDDEN, environment, outbound};
use super::templates::check_url;

const PATHS: [&str; 4] = [
    "content/posts/hello/index.md",
    "static/a b.png",
    "x",
    "../..",
];

thread_local! {
    static OUTBOUND: purgehook::http::Outbound = outbound();
}

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Files of this machine are none of a fuzzer's business, and what the file itself says is no secret.
    if text.contains("_file") || text.contains(HIDDEN) {
        return;
    }
    let read = OUTBOUND.with(|outbound| {
        config::read(
            "nowhere/rules.yaml",
            text,
            environment(),
            outbound,
            ALL_KINDS,
        )
    });
    let problems = match read {
        Ok(loaded) => {
            for site in loaded.config.sites.values() {
                for path in PATHS {
                    let mapped = site.rules.targets(&FilePath::new(path), ChangeKind::Added);
                    for target in mapped.targets {
                        check_url(&target.url, site.rules.base_urls());
                    }
                }
            }
            loaded.warnings
        }
        Err(problems) => problems,
    };
    for shown in [problems.render(false), problems.render(true)] {
        assert!(!shown.contains(HIDDEN), "{shown}");
        let plain = shown.replace("\u{1b}[", "");
        let bad = |c: char| c.is_control() && c != '\n';
        assert!(
            !problems.render(false).contains(bad) && !plain.contains(bad),
            "{shown:?}"
        );
    }
    for problem in &problems.list {
        assert!(!problem.message.contains(HIDDEN), "{}", problem.message);
    }
}
