//! Deadlines, as the recipient's session clock has them (section 11).

use std::time::Duration;

/// What `until` says of a deadline that is so long after the moment from which the asker counts.
pub fn until(after: Duration) -> u32 {
    let nanoseconds = (after.as_nanos() * 513).div_ceil(512) + 1_000_000;
    u32::try_from(nanoseconds.div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_go_apart_and_nothing_is_rounded_down() {
        assert_eq!(until(Duration::ZERO), 1);
        assert_eq!(until(Duration::from_micros(1)), 2);
        assert_eq!(until(Duration::from_millis(512)), 514);
        assert_eq!(until(Duration::from_millis(513)), 516);
        assert_eq!(until(Duration::from_secs(30)), 30_060);
        assert_eq!(until(Duration::from_secs(3600)), 3_607_033);
        assert_eq!(until(Duration::MAX), u32::MAX);
    }
}
