//! Who goes first where more threads have work than there are cores: those that answer clients, before
//! the engine's and the batch queries'.
//!
//! A lookup takes a tenth of a millisecond, the work of an epoch tens of them: who waits for a core
//! behind such work waits that long. Linux gives every thread a priority of its own, and a new one that
//! of the thread which starts it; elsewhere nothing changes. Readers step back further by themselves
//! (`connectors`).
#![allow(unsafe_code)] // setpriority.

use tokio::sync::oneshot;

/// How much nicer: of a core that both want, an engine's thread gets a quarter (sched(7): each step is
/// a factor of about 1.25).
#[cfg(target_os = "linux")]
const STEPS: libc::c_int = 5;

/// Does work on a thread of its own which, as all threads that it starts, goes behind the others.
/// `None`: there is no thread for it, or it panicked.
pub(crate) async fn behind_clients<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let started = std::thread::Builder::new().name("opening".into()).spawn(move || {
        step_back();
        // Nobody waits any more: the server is stopping.
        let _ = done.send(work());
    });
    started.ok()?;
    result.await.ok()
}

fn step_back() {
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes three numbers; 0 is the thread that calls.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, STEPS) } != 0 {
        tracing::debug!("the engine's threads go beside those of clients: {}", std::io::Error::last_os_error());
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_started_there_is_nicer() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The name, which may have spaces, ends with a bracket; the niceness is the 19th field.
            stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = nice();
        let within = super::behind_clients(move || std::thread::spawn(nice).join().unwrap()).await.unwrap();
        assert_eq!(within, super::STEPS.max(before));
        assert_eq!(nice(), before);
    }
}
