//! The one place that reads a clock.

use std::time::Duration;

use egtp::{Instant, UnixTime};
use rustix::time::{ClockId, clock_gettime};

/// Time passes while the machine is suspended, for a peer and so for every timeout. Where the system has no clock that
/// counts it, the monotonic one has to do.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia", target_os = "openbsd"))]
const COUNTS_SUSPEND: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "fuchsia", target_os = "openbsd")))]
const COUNTS_SUSPEND: ClockId = ClockId::Monotonic;

/// What waits for sockets does not count the time for which the machine is suspended, and [`Clock`] does: a deadline that
/// passed in the meantime is found this late at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The clocks of the operating system. All drivers of a machine share one origin: its start.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// The time since the machine started, suspend included where the system can tell. It never steps back.
    pub fn now() -> Instant {
        Instant::ZERO + read(COUNTS_SUSPEND)
    }

    /// How long to sleep before this deadline is looked at again: not at all once it has passed.
    pub fn sleep_before(deadline: Instant) -> Duration {
        deadline.saturating_since(Self::now()).min(LONGEST_SLEEP)
    }

    /// Wall-clock time, as well as the machine knows it; zero before 1970.
    pub fn unix_now() -> UnixTime {
        UnixTime::from_secs(read(ClockId::Realtime).as_secs())
    }
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_counted_in_microseconds_and_does_not_step_back() {
        let uptime = read(COUNTS_SUSPEND);
        let first = Clock::now();
        assert!(Clock::now() >= first);
        assert!(first.saturating_since(Instant::ZERO + uptime) < Duration::from_secs(60));
        assert!(first >= Instant::from_micros(u64::try_from(uptime.as_micros()).unwrap()));
    }

    #[test]
    fn a_sleep_ends_at_its_deadline_and_a_long_one_before() {
        let now = Clock::now();
        assert_eq!(Clock::sleep_before(now), Duration::ZERO);
        assert!(Clock::sleep_before(now + Duration::from_secs(5)) <= Duration::from_secs(5));
        assert_eq!(Clock::sleep_before(now + Duration::from_secs(3600)), LONGEST_SLEEP);
    }

    #[test]
    fn wall_clock_time_is_in_seconds_since_1970() {
        let year_2020_to_year_2500 = 1_577_836_800..16_725_225_600;
        assert!(year_2020_to_year_2500.contains(&Clock::unix_now().as_secs()));
    }
}
