//! Threads for work that takes long, such as on large bodies: what is small goes first.

use tokio::runtime::{Builder, Runtime};

/// How much less of a core such a thread gets than others that want it: about a tenth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// A few threads that give way to all others. Each is started when it is needed, and ends after a rest.
pub(super) struct LowPriority(
    /// Only its blocking threads are used. None where it cannot be made: then the ambient runtime's are.
    Option<Runtime>,
);

impl LowPriority {
    /// So many threads at most.
    pub fn threads(most: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .thread_name("low-priority")
            .max_blocking_threads(most)
            .on_thread_start(give_way)
            .build();
        Self(runtime.ok())
    }

    /// Does something there, after what was asked for earlier. None if it panicked, or the program ends.
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
        // It may be dropped where nothing can be waited for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// On Linux a priority is a thread's (`setpriority(2)`, "C library/kernel differences"); elsewhere it would be the program's.
fn give_way() {
    #[cfg(target_os = "linux")]
    // Without it everything is done all the same.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}
