//! How many files this process may have open: a connection is one.
//!
//! Promises: the soft limit, which is 1,024 on many systems, is raised to the hard one; where that
//! is too few for all connections that the configuration allows, the log says so at start.
#![allow(unsafe_code)] // getrlimit and setrlimit.

/// What the server itself has open, at most: stores, logs, files of queries, sockets to brokers.
const OWN: u64 = 512;

/// Raises the limit as far as it may be; what it is now. `None`: nobody knows.
fn raise() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct that is given, and nothing else.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return None;
        }
        let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        Some(match libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) {
            0 => wanted.rlim_cur,
            _ => limit.rlim_cur,
        })
    }
}

/// Makes room for so many connections, and says so if there is none.
pub(crate) fn make_room(connections: usize) {
    if let Some(limit) = raise().filter(|limit| *limit < connections as u64 + OWN) {
        tracing::warn!(
            "{connections} connections are allowed, but this process may have {limit} files open only (ulimit -n)"
        );
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_the_hard_one() {
        let raised = super::raise().unwrap();
        assert_eq!(super::raise(), Some(raised));
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[3], raised.to_string());
        assert_eq!(fields[3], fields[4]);
    }
}
