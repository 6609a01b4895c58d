//! The two ways in which a command ends badly.

use std::fmt::Display;

use egtp::ConfigError;

/// Why a command did not do what was asked, in one line.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The query's verdict was a failure: exit code 1.
    Verdict(String),
    /// Wrong usage, configuration or local state: exit code 2.
    Local(String),
}

impl Trouble {
    /// `what` is the argument or the thing at fault, `why` says what is wrong with it and how to mend it.
    pub(crate) fn local(what: impl Display, why: impl Display) -> Self {
        Self::Local(format!("{what}: {why}"))
    }
}

impl From<ConfigError> for Trouble {
    fn from(error: ConfigError) -> Self {
        Self::Local(error.to_string())
    }
}
