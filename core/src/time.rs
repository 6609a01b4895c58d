//! The core's own notion of time: integer microseconds that a driver hands in.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time, in microseconds since an origin that the driver picks.
///
/// The core never asks what time it is: every call that can change state takes `now`. There is no `Instant::now()`. A clock
/// that steps back is harmless, since a [`Node`](crate::Node) keeps the latest instant it was told.
///
/// ```
/// use core::time::Duration;
/// use egtp::Instant;
///
/// let start = Instant::from_micros(5);
/// assert_eq!(start + Duration::from_millis(1), Instant::from_micros(1_005));
/// assert_eq!(start.saturating_since(Instant::from_micros(9)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The instant this many microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time, 584,542 years after the origin.
    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Wall-clock time in whole seconds since 1970-01-01T00:00:00Z.
///
/// Used for one thing only: as a floor under the node's own sequence number, so that a node whose stored state was lost does not
/// announce itself with numbers that others have already seen. Nothing breaks if it is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// This many seconds since the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_to_the_last_instant_saturates() {
        let last = Instant::from_micros(u64::MAX);
        assert_eq!(last + Duration::MAX, last);
    }

    #[test]
    fn an_instant_prints_as_seconds_with_six_decimals() {
        assert_eq!(alloc::format!("{}", Instant::from_micros(1_000_002)), "1.000002s");
    }
}
