//! When event n happens: the density of the real data set as a function of n.
//!
//! Promises: event times never decrease with n; a day of the first 31 has 1,369,315 events, a later
//! one 2,250,066 (the real October and November: 110 million in 61 days), spread over its hours
//! like shopping is: a trickle in the night, a peak from 14 to 17 hours. Integers only. Has no
//! quirks of the real months (stalls, backlogs).

/// Events of a day in October and in November.
const DAY: [u64; 2] = [1_369_315, 2_250_066];
/// Days with October's density.
const OCTOBER: u64 = 31;
/// Thousandths of a day's events in each hour, from midnight UTC.
const HOURS: [u64; 24] = [7, 9, 18, 33, 43, 49, 52, 54, 55, 55, 53, 51, 51, 55, 63, 69, 71, 64, 52, 37, 25, 16, 10, 8];

const fn cumulated() -> [u64; 25] {
    let mut sums = [0; 25];
    let mut hour = 0;
    while hour < 24 {
        sums[hour + 1] = sums[hour] + HOURS[hour];
        hour += 1;
    }
    assert!(sums[24] == 1000, "the hours share out the whole day");
    sums
}

const BEFORE: [u64; 25] = cumulated();

/// The hour that holds event n: when it starts (seconds after the first event), how many events it
/// has, and which of them n is.
fn hour_of(n: u64) -> (u64, u64, u64) {
    let october = DAY[0] * OCTOBER;
    let (day, in_day, events) = if n < october {
        (n / DAY[0], n % DAY[0], DAY[0])
    } else {
        (OCTOBER + (n - october) / DAY[1], (n - october) % DAY[1], DAY[1])
    };
    let first = |hour: usize| events * BEFORE[hour] / 1000;
    let mut hour = 0;
    while hour < 23 && first(hour + 1) <= in_day {
        hour += 1;
    }
    (day * 86_400 + hour as u64 * 3600, first(hour + 1) - first(hour), in_day - first(hour))
}

/// Seconds from the first event to event n.
#[cfg(test)]
pub(super) fn seconds(n: u64) -> u64 {
    let (start, events, place) = hour_of(n);
    start + place * 3600 / events
}

/// Events an hour around event n.
pub(super) fn events_per_hour(n: u64) -> u64 {
    hour_of(n).1
}

/// Seconds of consecutive events, without a division for each.
pub(super) struct Clock {
    next: u64,
    start: u64,
    events: u64,
    place: u64,
}

impl Clock {
    /// A clock that stands before event n.
    pub(super) fn at(n: u64) -> Clock {
        let (start, events, place) = hour_of(n);
        Clock { next: n, start, events, place }
    }

    /// The seconds of the next event.
    #[inline]
    pub(super) fn tick(&mut self) -> u64 {
        if self.place == self.events {
            *self = Clock::at(self.next);
        }
        let seconds = self.start + self.place * 3600 / self.events;
        self.place += 1;
        self.next += 1;
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_the_real_number_of_events() {
        assert_eq!(seconds(0), 0);
        assert_eq!(seconds(42_448_765), 31 * 86_400);
        assert_eq!(seconds(42_448_764) / 86_400, 30);
        let end = seconds(109_950_743) as f64 / 86_400.0;
        assert!((60.9..=61.1).contains(&end), "{end} days");
    }

    #[test]
    fn time_never_decreases_and_the_clock_agrees() {
        for from in [0, 1_369_000, 42_448_000, 42_900_000] {
            let mut clock = Clock::at(from);
            let mut last = 0;
            for n in from..from + 300_000 {
                let now = clock.tick();
                assert_eq!(now, seconds(n), "event {n}");
                assert!(now >= last);
                last = now;
            }
        }
    }
}
