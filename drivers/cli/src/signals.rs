//! SIGINT and SIGTERM.

use std::{io, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Calls `ask_to_end` at each signal. If that returns `false` there is nobody left to be asked, and the process ends as it does without all
/// this.
pub(crate) fn on_each(ask_to_end: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("egtp-signals".into()).spawn(move || {
        for signal in &mut signals {
            if !ask_to_end() {
                // It returns only if it could not end the process, and then the next signal tries again.
                let _ = emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}
