//! Any bytes as a record, as a contact, and as strategies in a record that is signed well.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    egtp_fuzz::keep(egtp_tests::fuzzing::record(bytes))
});

#[cfg(not(fuzzing))]
fn main() {}
