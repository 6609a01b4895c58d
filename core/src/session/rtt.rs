//! How long a path takes there and back (RFC 6298, in microseconds).

use core::time::Duration;

/// The least time after which an answer over a stream is late.
const FLOOR: Duration = Duration::from_millis(200);
const CEILING: Duration = Duration::from_secs(60);
/// Before anything was measured.
const FIRST: Duration = Duration::from_secs(1);
/// How exactly time is told at the other end.
const GRANULARITY: Duration = Duration::from_millis(20);

/// The round-trip time of one path, smoothed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rtt {
    measured: Option<Measured>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Measured {
    smoothed: Duration,
    variation: Duration,
}

impl Rtt {
    pub(crate) fn sample(&mut self, taken: Duration) {
        self.measured = Some(match self.measured {
            None => Measured { smoothed: taken, variation: taken / 2 },
            Some(Measured { smoothed, variation }) => Measured {
                variation: (variation * 3 + smoothed.abs_diff(taken)) / 4,
                smoothed: (smoothed * 7 + taken) / 8,
            },
        });
    }

    /// After this an answer is late.
    pub(crate) fn timeout(&self) -> Duration {
        self.measured.map_or(FIRST, |Measured { smoothed, variation }| {
            (smoothed + (variation * 4).max(GRANULARITY) + GRANULARITY).clamp(FLOOR, CEILING)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_path_is_late_soon_after_its_time_and_never_before_the_floor() {
        let (mut near, mut far) = (Rtt::default(), Rtt::default());
        assert_eq!(near.timeout(), FIRST);
        for _ in 0..50 {
            near.sample(MS);
            far.sample(700 * MS);
        }
        assert_eq!(near.timeout(), FLOOR);
        assert!((740 * MS..750 * MS).contains(&far.timeout()), "{:?}", far.timeout());
    }

    #[test]
    fn a_path_that_varies_is_given_more_time() {
        let mut rtt = Rtt::default();
        for sample in [100, 900, 100, 900] {
            rtt.sample(sample * MS);
        }
        assert!(rtt.timeout() > 1000 * MS);
        rtt.sample(Duration::MAX / 16);
        assert_eq!(rtt.timeout(), CEILING);
    }
}
