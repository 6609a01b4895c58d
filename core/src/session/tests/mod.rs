//! The session alone, and two of them with paths between.

mod acknowledging;
mod bench;
mod frames;
mod loss;
