//! The session alone, and two of them with paths between.

mod acknowledging;
mod bench;
mod dice;
mod frames;
mod loss;
mod promises;
mod storm;
