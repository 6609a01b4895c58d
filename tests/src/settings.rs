//! Nodes that are set up otherwise than by default, or have met already.

use egtp::{CheckedConfig, Config, Limits};

use crate::scene::{EMPTY, Scene, query};
use egtp_sim::NodeIndex;

/// The default configuration with other limits.
///
/// # Panics
///
/// If they obey no rule.
pub fn limited(limit: impl FnOnce(&mut Limits)) -> CheckedConfig {
    configured(|config| limit(&mut config.limits))
}

/// The default configuration with a change.
///
/// # Panics
///
/// If it obeys no rule then.
pub fn configured(change: impl FnOnce(&mut Config)) -> CheckedConfig {
    let mut config = Config::default();
    change(&mut config);
    config.check().expect("a test sets up what can be set up")
}

/// A node with this configuration, and so many others.
pub fn surrounded<const OTHERS: usize>(config: CheckedConfig) -> (Scene, NodeIndex, [NodeIndex; OTHERS]) {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config);
    let others = [(); OTHERS].map(|()| scene.add_node());
    (scene, node, others)
}

/// Two nodes that have talked before, so that connection and session are there.
pub fn acquainted(seed: u64) -> (Scene, NodeIndex, NodeIndex) {
    let (mut scene, asker, peer) = Scene::of_two(seed);
    scene.ask(asker, peer, query(EMPTY, b"hello"));
    scene.run_secs(1);
    (scene, asker, peer)
}
