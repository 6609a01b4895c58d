//! The words of a script: durations, sizes, names, settings.

use std::fmt;
use std::time::Duration;

/// A script that cannot be played: which line, which word, and what would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Which line, counted from one.
    pub line: usize,
    /// Which word; none if the line ends too early.
    pub word: Option<String>,
    /// What would do in its place.
    pub wanted: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, word, wanted } = self;
        match word {
            Some(word) => write!(f, "line {line}: \"{word}\" will not do, but {wanted}"),
            None => write!(f, "line {line} ends too early: there has to follow {wanted}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// The words of one line, taken one after the other.
pub(super) struct Words<'a> {
    line: usize,
    words: std::str::SplitAsciiWhitespace<'a>,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: usize, text: &'a str) -> Self {
        Self { line, words: text.split_ascii_whitespace() }
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        self.words.next()
    }

    pub(super) fn fail<T>(&self, word: Option<&str>, wanted: impl Into<String>) -> Result<T, Malformed> {
        Err(Malformed { line: self.line, word: word.map(str::to_owned), wanted: wanted.into() })
    }

    /// Takes a word that `read` can read.
    pub(super) fn take<T>(&mut self, wanted: &str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, Malformed> {
        let word = self.next();
        match word.and_then(read) {
            Some(value) => Ok(value),
            None => self.fail(word, wanted),
        }
    }

    /// Takes one of these words, and gives back which.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<T, Malformed> {
        let wanted = choices.iter().map(|&(name, _)| name).collect::<Vec<_>>().join(", ");
        self.take(&wanted, |word| choices.iter().find(|&&(name, _)| name == word).map(|&(_, value)| value))
    }

    /// Takes all words that are left; each is a setting, `name=value`, that `set` has to take. It says what would do otherwise.
    pub(super) fn settings(&mut self, mut set: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), Malformed> {
        while let Some(word) = self.next() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            if let Err(wanted) = set(name, value) {
                return self.fail(Some(word), wanted);
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        match self.next() {
            None => Ok(()),
            word => self.fail(word, "the end of the line"),
        }
    }
}

pub(super) const DURATION: &str = "a duration such as 20ms, 300us, 1.5s or 2h";

/// A duration in its largest fitting unit, to the microsecond.
pub(super) fn duration_in_words(duration: Duration) -> String {
    let micros = duration.as_micros();
    let (unit, name) = match micros {
        0..1_000 => (1, "us"),
        1_000..1_000_000 => (1_000, "ms"),
        _ => (1_000_000, "s"),
    };
    let (whole, rest) = (micros / unit, micros % unit);
    if rest == 0 {
        return format!("{whole}{name}");
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}{name}", digits.trim_end_matches('0'))
}

/// Reads a duration of whole microseconds, up to a year.
pub(super) fn duration(word: &str) -> Option<Duration> {
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let unit: u64 = match &word[number.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
    if rest.len() > 9 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let tenths = 10u64.pow(u32::try_from(rest.len()).ok()?);
    let rest = rest.parse::<u64>().ok()?.checked_mul(unit)?;
    let micros = whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(rest / tenths)?;
    let duration = Duration::from_micros(micros);
    (rest.is_multiple_of(tenths) && duration <= Duration::from_secs(365 * 24 * 3600)).then_some(duration)
}

/// A size in KiB if it is a whole number of those.
pub(super) fn size_in_words(bytes: usize) -> String {
    if bytes > 0 && bytes.is_multiple_of(1024) { format!("{}KiB", bytes / 1024) } else { format!("{bytes}B") }
}

/// Reads a size in bytes.
pub(super) fn size(word: &str) -> Option<usize> {
    match word.strip_suffix("KiB") {
        Some(number) => number.parse::<usize>().ok()?.checked_mul(1024),
        None => word.strip_suffix('B').unwrap_or(word).parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        let cases = [(0, "0us"), (300, "300us"), (1_500, "1.5ms"), (20_000, "20ms"), (1_000_001, "1.000001s")];
        for (micros, text) in cases {
            assert_eq!(duration_in_words(Duration::from_micros(micros)), text);
            assert_eq!(duration(text), Some(Duration::from_micros(micros)));
        }
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(duration("1.5min"), Some(Duration::from_secs(90)));
        for bad in [
            "",
            "5",
            "s",
            "1.s",
            ".5s",
            "-1s",
            "1.5us",
            "1,5s",
            "9000000h",
            "1d",
            "0.0000001s",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (bytes, text) in [(0, "0B"), (100, "100B"), (1024, "1KiB"), (65_536, "64KiB"), (1025, "1025B")] {
            assert_eq!(size_in_words(bytes), text);
            assert_eq!(size(text), Some(bytes));
        }
        assert_eq!(size("12"), Some(12));
        for bad in ["", "B", "KiB", "1.5KiB", "-1B", "1MB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
