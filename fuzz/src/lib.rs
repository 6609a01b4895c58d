//! What the fuzz targets share. Their bodies are in `egtp_tests::fuzzing`.

/// Whether an input is worth keeping.
#[cfg(fuzzing)]
pub fn keep(outcome: egtp_tests::fuzzing::Outcome) -> libfuzzer_sys::Corpus {
    if outcome == egtp_tests::fuzzing::Outcome::Unreadable {
        libfuzzer_sys::Corpus::Reject
    } else {
        libfuzzer_sys::Corpus::Keep
    }
}
