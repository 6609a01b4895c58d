//! Contacts and records from anywhere.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| egtp_tests::fuzzing::contact(bytes));

#[cfg(not(fuzzing))]
fn main() {}
