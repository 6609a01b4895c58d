//! Bodies that tests and fuzz targets share.

pub mod bench;
pub mod fuzzing;
pub mod settings;

pub use egtp_sim::scene;

/// The program in the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
