//! How often an address may fail to log in.
//!
//! Each address has a number of failures that come back over a minute. Promises: a login under way
//! counts as failed until it is done, so that many at once gain nothing; memory is bounded, whatever
//! the number of addresses. An IPv6 address counts with its /64.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use thalweg_dataflow::{Error, Result, SqlState};

/// The most addresses that are remembered.
const MOST: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_minute: f64,
    known: Mutex<HashMap<IpAddr, Allowance>>,
}

/// What an address may still spend.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    failures: f64,
    at: Instant,
}

/// A login under way.
#[derive(Debug)]
pub(super) struct Attempt {
    limiter: Arc<Limiter>,
    net: IpAddr,
}

impl Limiter {
    /// So many failures a minute for each address.
    pub(crate) fn new(per_minute: usize) -> Limiter {
        Limiter { per_minute: per_minute as f64, known: Mutex::default() }
    }

    /// Lets an address try. Error: 28000, it failed too often.
    pub(super) fn attempt(self: &Arc<Self>, address: IpAddr) -> Result<Attempt> {
        self.attempt_at(address, Instant::now())
    }

    fn attempt_at(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Attempt> {
        let net = net(address);
        let mut known = self.known.lock();
        let left = known.get(&net).map_or(self.per_minute, |allowance| self.left(allowance, now));
        if left < 1.0 {
            let message = format!("too many failed logins from host \"{address}\"");
            return Err(Error::new(SqlState::InvalidAuthorization, message).hint("Try again in a minute."));
        }
        if known.len() >= MOST && !known.contains_key(&net) {
            known.retain(|_, allowance| self.left(allowance, now) < self.per_minute);
            // All of them are failing: one has to make room, whichever.
            if let Some(any) = known.keys().next().copied().filter(|_| known.len() >= MOST) {
                known.remove(&any);
            }
        }
        known.insert(net, Allowance { failures: left - 1.0, at: now });
        Ok(Attempt { limiter: Arc::clone(self), net })
    }

    fn left(&self, allowance: &Allowance, now: Instant) -> f64 {
        let back = now.saturating_duration_since(allowance.at).as_secs_f64() * self.per_minute / 60.0;
        (allowance.failures + back).min(self.per_minute)
    }
}

impl Attempt {
    /// It did not fail, or the client gave up before it said anything.
    pub(super) fn forgive(self) {
        if let Some(allowance) = self.limiter.known.lock().get_mut(&self.net) {
            allowance.failures = (allowance.failures + 1.0).min(self.limiter.per_minute);
        }
    }
}

fn net(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn failures_are_limited_and_come_back() {
        let limiter = Arc::new(Limiter::new(2));
        let (here, there) = (IpAddr::from([1, 2, 3, 4]), IpAddr::from([1, 2, 3, 5]));
        let start = Instant::now();
        let attempt = |address, seconds| limiter.attempt_at(address, start + Duration::from_secs(seconds));
        attempt(here, 0).unwrap().forgive();
        attempt(here, 0).unwrap();
        attempt(here, 0).unwrap();
        let error = attempt(here, 0).unwrap_err();
        assert_eq!(error.message(), "too many failed logins from host \"1.2.3.4\"");
        attempt(there, 0).unwrap();
        assert!(attempt(here, 29).is_err());
        attempt(here, 31).unwrap();
        assert!(attempt(here, 31).is_err());
    }

    #[test]
    fn neighbours_in_ipv6_count_together_and_memory_is_bounded() {
        let limiter = Arc::new(Limiter::new(1));
        let now = Instant::now();
        let address = |net: u128, host: u128| IpAddr::from(Ipv6Addr::from_bits(net << 64 | host));
        limiter.attempt_at(address(1, 1), now).unwrap();
        assert!(limiter.attempt_at(address(1, 2), now).is_err());
        for net in 2..=MOST as u128 + 100 {
            limiter.attempt_at(address(net, 1), now).unwrap();
        }
        assert!(limiter.known.lock().len() <= MOST);
    }
}
