//! Any bytes, cut in any way, from whoever connects.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|chunks: Vec<Vec<u8>>| egtp_tests::fuzzing::stranger(&chunks));

#[cfg(not(fuzzing))]
fn main() {}
