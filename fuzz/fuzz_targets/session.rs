//! Two nodes and the connections between them, on which bytes go, stay, are lost and come again.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    egtp_fuzz::keep(egtp_tests::fuzzing::session(bytes))
});

#[cfg(not(fuzzing))]
fn main() {}
