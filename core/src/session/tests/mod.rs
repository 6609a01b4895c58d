//! The session alone, and two of them with paths between.

mod acknowledging;
mod asker;
mod bench;
mod cost;
mod dice;
mod frames;
mod leaving;
mod loss;
mod parts;
mod paths;
mod promises;
mod recipient;
mod storm;
