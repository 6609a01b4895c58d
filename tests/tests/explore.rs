#![allow(missing_docs, clippy::unwrap_used)]
use egtp::*;
use egtp_tests::bench::{Between, Side};
use egtp_tests::scene::{ECHO, KEEP, NEVER, Scene, long_body, query};
use std::time::Duration;

#[test]
fn half() {
    let mut between = Between::acquainted();
    for _ in 0..10 {
        between.wait(Duration::from_millis(100));
        between.carry();
    }
    between.pass(Side::Left, &[0, 0, 200, 0, 2, 4, 7]);
    for s in 0..4000 {
        between.wait(Duration::from_secs(1));
        if !between.right.closed.is_empty() {
            println!("closed after {s}");
            return;
        }
    }
    panic!("never");
}

#[test]
fn silent() {
    for kind in [KEEP, ECHO] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        scene.ask(asker, peer, query(kind, b"hello").hard_timeout(Duration::from_secs(600)));
        scene.run_secs(1);
        println!("{}", scene.world.now());
        scene.world.set_silent(peer, true);
        scene.run_secs(400);
        println!("{:?}", scene.world.notes());
        println!("{:?}", scene.world.connects());
    }
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(1);
    println!("{}", scene.world.now());
    scene.world.set_silent(peer, true);
    scene.ask(asker, peer, query(ECHO, b"hello").hard_timeout(Duration::from_secs(600)));
    scene.run_secs(400);
    println!("{:?}", scene.world.notes());
    println!("{:?}", scene.world.connects());
    println!("{:?}", scene.told.verdicts);
}

#[test]
fn forged() {
    let framed = egtp_tests::bench::framed;
    let mut between = Between::acquainted();
    between.wait(Duration::from_millis(30));
    between.carry();
    between.seen.clear();
    for round in 0..3_u64 {
        for (side, packet) in between.seen.clone() {
            let (sid, back) = (&packet[6..14], if side == Side::Left { Side::Right } else { Side::Left });
            for counter in [0, 1, round, u64::MAX] {
                between.pass(back, &framed(&[&[2, 5], sid, &u64::to_be_bytes(counter)[..]].concat()));
            }
        }
        println!("{} round {round}", between.now);
        let from = between.seen.len();
        between.ask(query(ECHO, b"still there?"));
        between.converse();
        for (side, packet) in &between.seen[from..] {
            println!("{side:?} {:02x?} {}", &packet[4..22], packet.len() - 4);
        }
        println!("{} {:?}", between.left.verdicts().len(), between.left.node.deadline());
        between.wait(Duration::from_secs(1));
    }
}

#[test]
fn restarts() {
    for seed in 0..8 {
        let (mut scene, one, other) = Scene::of_two(seed);
        for round in 0..4 {
            scene.ask(one, other, query(KEEP, b"lost"));
            scene.ask(other, one, query(ECHO, b"answered or lost"));
            scene.run(Duration::from_millis(37 * (round + 1)));
            scene.restart(if round % 2 == 0 { one } else { other });
        }
        scene.told.verdicts.clear();
        println!("seed {seed} {}", scene.world.now());
        let asked = [(one, other), (other, one)].map(|(from, to)| (from, scene.ask(from, to, query(ECHO, b"now"))));
        println!("{asked:?}");
        scene.run_secs(70);
        for (a, b, c, d) in &scene.told.verdicts {
            println!("{a} {b:?} {c:?} {d:?}");
        }
        println!("{:?}", scene.world.notes());
        println!("{:?}", scene.world.connects());
        break;
    }
}

/// Random inputs for a fuzz target: TARGET, FROM, COUNT, LENGTH.
#[test]
fn random_inputs() {
    let var = |name: &str, or: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let name = std::env::var("TARGET").unwrap_or("session".into());
    let target = egtp_tests::fuzzing::TARGETS.iter().find(|target| target.name == name).unwrap();
    let (from, count, length) = (var("FROM", 0), var("COUNT", 1000), var("LENGTH", 400));
    let mut outcomes = std::collections::BTreeMap::new();
    let mut bad = 0;
    for seed in from..from + count {
        let mut choice = egtp_sim::Choice::from_seed(seed);
        let mut bytes = Vec::new();
        let most = choice.below(length) + 2;
        while bytes.len() < most as usize { bytes.extend(choice.seed()); }
        match std::panic::catch_unwind(|| (target.run)(&bytes)) {
            Ok(outcome) => *outcomes.entry(format!("{outcome:?}")).or_insert(0) += 1,
            Err(_) => { bad += 1; println!("SEED {seed}"); if bad > var("BAD", 5) { break } }
        }
    }
    println!("{outcomes:?} bad {bad}");
}
