//! Threads for slow work, such as that on large bodies: small work goes first.

use tokio::runtime::{Builder, Runtime};

/// The nice value of these threads: they get about a tenth of the share of a core that normal threads get.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// A few threads that give way to all others. Each is started on demand, and ends when it has been idle for a while.
pub(super) struct LowPriority(
    /// Only its blocking threads are used. None if it could not be created: then the ambient runtime's threads are
    /// used.
    Option<Runtime>,
);

impl LowPriority {
    /// At most this many threads.
    pub fn threads(most: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .thread_name("low-priority")
            .max_blocking_threads(most)
            .on_thread_start(give_way)
            .build();
        Self(runtime.ok())
    }

    /// Runs a function on one of these threads, in the order of the calls. None if it panicked, or the program ends.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let running = match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        };
        running.await.ok()
    }
}

impl Drop for LowPriority {
    fn drop(&mut self) {
        // It may be dropped in a context that must not block.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// On Linux, a priority belongs to a thread (`setpriority(2)`, "C library/kernel differences"); elsewhere, to the
/// process.
fn give_way() {
    #[cfg(target_os = "linux")]
    // If this fails, the work is done at normal priority.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}
