//! Durations and rates as people type them.

use std::time::Duration;

use egtp::{MAX_HARD_TIMEOUT, Rate};

/// Parses a whole number with a unit: `250ms`, `2s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis_per_unit = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(3600 * 1000),
        _ => None,
    };
    let millis = number.parse::<u64>().ok().zip(millis_per_unit).and_then(|(number, unit)| number.checked_mul(unit));
    millis.map(Duration::from_millis).ok_or_else(|| "not a duration: write for instance 250ms, 2s, 5m or 1h".into())
}

/// Parses a duration that can be a hard timeout.
pub(crate) fn hard_timeout(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() || duration > MAX_HARD_TIMEOUT {
        return Err("must be above zero and at most 1h".into());
    }
    Ok(duration)
}

/// Parses bytes a second: `7000`, `56k`, `1M`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let bytes_per_unit = match unit {
        "" => Some(1),
        "k" => Some(1000),
        "M" => Some(1_000_000),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(bytes_per_unit).and_then(|(number, unit)| number.checked_mul(unit));
    let bytes = bytes.ok_or("not a rate: write bytes a second, for instance 7000, 56k or 1M")?;
    Rate::bytes_per_second(bytes).ok_or_else(|| "must be at least 256 and at most 1099511627776 bytes a second".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for text in
            ["", "5", "s", "1.5s", "-1s", "+1s", "1 s", "1S", "1d", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hard_timeout_is_above_zero_and_at_most_an_hour() {
        assert!(hard_timeout("0s").is_err());
        assert!(hard_timeout("3601s").is_err());
        assert_eq!(hard_timeout("3600s"), Ok(MAX_HARD_TIMEOUT));
        assert_eq!(hard_timeout("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn a_rate_is_in_bytes_a_second() {
        assert_eq!(rate("7000").map(Rate::as_bytes_per_second), Ok(7000));
        assert_eq!(rate("56k").map(Rate::as_bytes_per_second), Ok(56_000));
        assert_eq!(rate("2M").map(Rate::as_bytes_per_second), Ok(2_000_000));
        for text in ["", "k", "0", "255", "1.5k", "1K", "-1k", "1G", "99999999999999999999M"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
