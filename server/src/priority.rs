//! Who goes first where more threads have work than there are cores: those that answer clients, before
//! the engine's and the batch queries'.
//!
//! A lookup takes a tenth of a millisecond, the work of an epoch tens of them: who waits for a core
//! behind such work waits that long. Readers of files and sources step back further by themselves.

use thalweg_connectors::priority;
use tokio::sync::oneshot;

/// The engine's niceness: of a core that both want, its thread gets a quarter (sched(7): each step is a
/// factor of about 1.25).
const NICENESS: i32 = 5;

/// Does work on a thread of its own which, as all threads that it starts, goes behind the others.
/// `None`: there is no thread for it, or it panicked.
pub(crate) async fn behind_clients<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let started = std::thread::Builder::new().name("opening".into()).spawn(move || {
        priority::lower(NICENESS);
        // Nobody waits any more: the server is stopping.
        let _ = done.send(work());
    });
    started.ok()?;
    result.await.ok()
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
        assert_eq!(within, super::NICENESS.max(before));
        assert_eq!(nice(), before);
    }
}
