//! Handshakes that go wrong, at either end.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    egtp_fuzz::keep(egtp_tests::fuzzing::handshake(bytes))
});

#[cfg(not(fuzzing))]
fn main() {}
