//! A storm over a few nodes whose every choice the fuzzer makes.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    egtp_fuzz::keep(egtp_tests::fuzzing::world(bytes))
});

#[cfg(not(fuzzing))]
fn main() {}
