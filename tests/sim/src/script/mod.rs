//! Scripts: scenarios in words, with what is to happen after each command.
//!
//! A line that begins with `>` is a command, as [`Scenario`] reads them; one that begins with `#` is a comment; all others are the
//! transcript of the command before them. Playing a script writes it again with the transcript as it turns out, so that what is
//! expected and what happened are compared as texts.
//!
//! ```
//! let script = "\
//! ## Nobody knows bob.
//! > node alice
//! > node bob
//! > forget bob
//!      0.000000s  bob      is forgotten by the directory
//! > ask alice bob echo
//!      0.000000s  alice    asks bob #0: echo, 8 bytes, within 20.000000s
//!      0.000000s  alice    looks up bob
//! > wait 1s
//!      0.000000s  alice    has the verdict of #0: unreachable (stage: Lookup, executed: No)
//! ";
//! assert_eq!(egtp_sim::script::replay(script)?, script);
//! # Ok::<(), egtp_sim::scenario::Malformed>(())
//! ```

mod difference;

use crate::scenario::{Malformed, Scenario};
use crate::storm::Stage;

pub use difference::difference;

/// Plays a script, and gives it back with the transcript as it turned out. What breaks a promise, or is not as expected, is told in a
/// line of its own, and nothing is played after that.
///
/// # Errors
///
/// [`Malformed`] names the line and the word that cannot be read, and what would do.
pub fn replay(script: &str) -> Result<String, Malformed> {
    let scenario: Scenario = script.parse()?;
    let mut steps = scenario.steps.iter();
    let mut stage = Stage::new(&scenario);
    let mut told = String::new();
    for line in script.lines() {
        let is_kept = line.is_empty() || line.starts_with('#') || line.starts_with('>');
        if !is_kept {
            continue;
        }
        told += line;
        told.push('\n');
        if is_step(line)
            && let Some(step) = steps.next()
        {
            for line in stage.play(step) {
                told += &line;
                told.push('\n');
            }
        }
    }
    Ok(told)
}

/// Whether a line makes something happen, and does not only set the stage.
fn is_step(line: &str) -> bool {
    let command = line.strip_prefix('>').and_then(|command| command.split_ascii_whitespace().next());
    command.is_some_and(|command| !["seed", "network", "node"].contains(&command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_expected_is_told_and_ends_the_script() {
        let script = "> node alice\n> expect alice connections=2\n> crash alice\n";
        let told = replay(script).unwrap();
        let broken = "broken at 0.000000s: alice was expected to have connections=2 and has 0";
        assert_eq!(told, format!("> node alice\n> expect alice connections=2\n{broken}\n> crash alice\n"));
        assert_eq!(replay(&told), Ok(told));
    }

    #[test]
    fn comments_and_empty_lines_stay_where_they_are() {
        let script = "# One.\n\n> node alice\n# Two.\n\n> crash alice\n     0.000000s  alice    crashes\n\n# Three.\n";
        assert_eq!(replay(script), Ok(script.into()));
    }
}
