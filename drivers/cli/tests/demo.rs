//! `egtp demo`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::TestDir;

#[test]
fn the_demonstration_tells_its_story_to_the_end() {
    let dir = TestDir::new();
    let told = dir.egtp(["demo"]);
    told.assert_done();
    for part in ["1. ", "Alice", "unreachable", "hard-timeout", "egtp serve"] {
        assert!(told.text().contains(part), "{part} is not in: {}", told.text());
    }
    assert!(!told.text().contains('\x1b'), "no colour unless on a terminal");
}
