//! The log of the server, on standard error: text on a terminal, otherwise JSON.
//!
//! A thread writes the lines, so that lines that come at the same time share a system call and no request waits for one.
//! If the program is killed, the lines that the thread has not written yet are lost.

use std::io::{self, BufWriter, IsTerminal, Write};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::redact::Redactor;

/// Lines that may wait to be written. If standard error takes no more, whoever logs waits.
const MAX_WAITING: usize = 4_096;
/// Bytes that are written at once.
const BUFFER: usize = 32 * 1024;

/// The log. Dropping it writes the lines that wait.
pub struct Logging {
    #[expect(dead_code, reason = "its drop writes the remaining lines")]
    thread: WorkerGuard,
}

/// Starts logging. `RUST_LOG` is the filter. Libraries log too, so every line is redacted with `redactor`.
pub fn start(default: &str, redactor: Redactor) -> Logging {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let (writer, thread) = NonBlockingBuilder::default()
        .lossy(false)
        .buffered_lines_limit(MAX_WAITING)
        .thread_name("log")
        .finish(BufWriter::with_capacity(BUFFER, Redacted(redactor)));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would report on standard error that standard error cannot be written, and panic: if the log's disk is
        // full, every request would fail.
        .log_internal_errors(false);
    // Starting logging twice, in a test, does no harm.
    let _ = if io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        // Show the request once: there are no nested spans.
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init()
    };
    Logging { thread }
}

/// Standard error without secrets. Each write is one or more whole lines.
struct Redacted(Redactor);

impl Write for Redacted {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let shown = String::from_utf8_lossy(lines);
        io::stderr().write_all(self.0.redact(&shown).as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
