//! The session alone, and two of them with paths between.
