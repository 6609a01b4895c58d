//! How the demonstration looks.

use std::cell::Cell;
use std::env;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::output::Output;

/// Numbered steps with a few lines each, titles in bold on a terminal unless `NO_COLOR` is set.
pub(super) struct Story {
    stdout: Output,
    bold: bool,
    steps: Cell<u32>,
}

impl Story {
    pub(super) fn new(stdout: Output) -> Self {
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { stdout, bold: io::stdout().is_terminal() && !no_color, steps: Cell::new(0) }
    }

    /// Begins a step.
    pub(super) fn step(&self, title: &str) {
        self.steps.set(self.steps.get() + 1);
        let (bold, normal) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.stdout.send(format!("\n{bold}{:2}. {title}{normal}\n", self.steps.get()));
    }

    /// Tells something.
    pub(super) fn line(&self, text: &str) {
        self.stdout.send(format!("    {text}\n"));
    }
}

/// A duration with three significant digits or so, for a person.
pub(super) fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros} \u{b5}s"),
        1_000..1_000_000 => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_its_own_unit() {
        assert_eq!(time(Duration::from_micros(999)), "999 \u{b5}s");
        assert_eq!(time(Duration::from_micros(2_050)), "2.05 ms");
        assert_eq!(time(Duration::from_millis(1_500)), "1.50 s");
    }
}
