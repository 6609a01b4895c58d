//! Bodies that tests and fuzz targets share.

pub mod bench;
pub mod fuzzing;
pub mod scene;
pub mod storm;

/// The program in the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
