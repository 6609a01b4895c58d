//! What the storms found, each reduced to the smallest scenario that shows it.

use std::time::Duration;

use egtp::{PeerRefusal, Reason};
use egtp_sim::scenario::Scenario;
use egtp_sim::scene::{ECHO, NEVER, Scene, long_body, query, type_name};
use egtp_sim::storm::record_scenario;
use egtp_sim::{Network, NodeIndex};

/// Plays a scenario that once broke a promise.
fn keeps_every_promise(scenario: &str) {
    let scenario: Scenario = scenario.parse().expect("it is a scenario");
    assert_eq!(record_scenario(&scenario).broken(), Vec::<String>::new());
}

/// Storm 150: a node gave up a connection that it had opened, since nothing waited for the peer any more; but the peer had met it
/// there already, in the session that they shared, and had sent a query.
#[test]
fn a_dial_that_is_open_is_not_given_up_with_the_query_it_was_for() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"so that there is a session"));
    // The connection is closed when it has been idle for long; the session stays.
    scene.run_secs(1300);
    let given_up = scene.ask(asker, peer, query(ECHO, b"for which a connection is opened"));
    scene.run(Duration::from_millis(31));
    let asked = scene.ask(peer, asker, query(ECHO, b"over that connection"));
    scene.run(Duration::from_millis(4));
    scene.world.with(asker, |node, now| node.cancel(now, given_up).unwrap());
    scene.run_secs(59);
    assert_eq!(scene.reply(peer, asked), b"over that connection");
}

/// Storm 1491: two nodes shook hands with each other at once, and the session in which a notice had gone was ended before the notice
/// was acknowledged. It waited for its hard timeout, five minutes, though the end of the session had said that it was taken.
#[test]
fn a_notice_that_was_taken_has_ended_when_its_session_has() {
    for seed in 0..8 {
        let mut scene = Scene::on(seed, Network { latency: Duration::from_micros(142), ..Network::default() });
        let (one, other) = (scene.add_node(), scene.add_node());
        let id = scene.world.id(other);
        scene.world.with(one, |node, now| node.notify(now, id, type_name(NEVER), b"once".to_vec()).unwrap());
        scene.ask(other, one, query(ECHO, b"at the same instant"));
        scene.run_secs(5);
        assert_eq!(scene.told.notices.len(), 1);
        assert_eq!(scene.world.node(one).usage().queries, 0, "seed {seed}");
    }
}

/// A node that has lost its power and is back, and another one, which takes the connection that they had for alive.
fn returned(seed: u64) -> (Scene, NodeIndex, NodeIndex) {
    let (mut scene, returning, other) = Scene::of_two(seed);
    scene.ask(other, returning, query(ECHO, b"so that there is a connection"));
    scene.run_secs(1);
    scene.world.power_off(returning);
    scene.start(returning);
    (scene, returning, other)
}

/// A node that had lost its power came back, met its peer anew and notified it. The acknowledgement went over the old connection,
/// which the peer did not know to be dead yet, and was lost there; the notice waited for its hard timeout.
#[test]
fn what_is_said_of_a_notice_goes_back_the_way_it_came() {
    for seed in 0..8 {
        let (mut scene, returning, other) = returned(seed);
        let id = scene.world.id(other);
        scene.world.with(returning, |node, now| node.notify(now, id, type_name(NEVER), b"once".to_vec()).unwrap());
        scene.run_secs(1);
        assert_eq!(scene.told.notices.len(), 1);
        assert_eq!(scene.world.node(returning).usage().queries, 0, "seed {seed}");
    }
}

/// The same with a query that was refused: nobody said so, and it waited for its hard timeout.
#[test]
fn a_refusal_goes_back_the_way_the_query_came() {
    for seed in 0..8 {
        let (mut scene, returning, other) = returned(seed);
        let asked = scene.ask(returning, other, query("unknown", b"of a type that is not served"));
        scene.run_secs(1);
        let refused = Reason::RefusedByPeer(PeerRefusal::UnknownType);
        assert_eq!(scene.failure(returning, asked).reason, refused, "seed {seed}");
    }
}

/// A clock jumped ahead by more than a query's hard timeout, as the asker's does the other way when its machine was suspended. From
/// then on its node refused as late whatever came in the session, for up to twelve hours.
#[test]
fn a_query_that_is_called_late_too_early_goes_again_where_clocks_agree() {
    for asker_has_dialled in [true, false] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        let (dialler, other) = if asker_has_dialled { (asker, peer) } else { (peer, asker) };
        scene.ask(dialler, other, query(ECHO, b"so that there is a session"));
        scene.run_secs(1);
        scene.world.step_clock(peer, Duration::from_secs(61));
        let asked = [0, 1].map(|body| scene.ask(asker, peer, query(ECHO, &[body])));
        let long = scene.ask(asker, peer, query(ECHO, &long_body(100_000)));
        scene.run_secs(5);
        for (query, body) in asked.into_iter().zip(0..) {
            assert_eq!((scene.reply(asker, query), scene.runs(&[body])), (&[body][..], 1));
        }
        assert_eq!(scene.runs(scene.reply(asker, long)), 1);
        for node in [asker, peer] {
            assert_eq!(scene.world.node(node).usage().sessions, 1, "the one whose clocks have gone apart has ended");
        }
    }
}

/// A process stood still with half of a query in its socket. When it went on, the other half left, and at the same instant the
/// connection was due to be given up: that came first, so that the query was taken for one that had not left, went again, and ran
/// twice.
#[test]
fn what_has_left_by_the_instant_at_which_a_connection_is_given_up_does_not_go_again() {
    let mut scene = Scene::on(1, Network { buffer: 900, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    scene.ask(asker, peer, query(ECHO, b"so that there is a connection"));
    scene.run_secs(1);
    let body = long_body(900);
    let asked = scene.ask(asker, peer, query(ECHO, &body));
    scene.world.set_silent(peer, true);
    // The asker has become suspicious, and waits for a sign of life.
    scene.run_secs(6);
    scene.world.set_frozen(asker, true);
    scene.run_secs(20);
    scene.world.set_silent(peer, false);
    scene.run_secs(1);
    scene.world.set_frozen(asker, false);
    scene.run_secs(10);
    assert_eq!(scene.reply(asker, asked), body);
    assert_eq!(scene.runs(&body), 1);
}

/// Storm 1086 of later ones: two nodes had dialled each other, and while a reply waited to be written to one of the two connections,
/// neither was read. Once it was written nothing said so of the other connection, and what came there was never read.
#[test]
fn a_reply_that_is_written_to_one_connection_lets_the_other_be_read_again() {
    let scenario: Scenario = "> seed 1\n\
        > network latency=35.337ms jitter=0us chunks=whole buffer=8383B\n\
        > node alice\n\
        > node bob reply_bytes_per_peer=14384\n\
        > ask alice bob echo bytes=8B hard=17s\n\
        > ask bob alice echo bytes=12380B hard=17s\n\
        > wait 209ms\n\
        > ask alice bob echo bytes=9180B hard=20s\n\
        > ask bob alice echo bytes=29409B hard=20s\n\
        > wait 121ms"
        .parse()
        .unwrap();
    let broken: Vec<String> =
        record_scenario(&scenario).broken().into_iter().map(|broken| broken.to_string()).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// Storm 154366: what a node may read each second was all taken by the connection that it looked at first, round after round. A
/// handshake on another one was not read for ten seconds, and the connection was closed.
#[test]
fn whoever_reads_little_reads_from_everybody() {
    let scenario: Scenario = "> seed 1\n\
        > node alice down=6551\n\
        > node bob\n\
        > node carol\n\
        > ask bob alice echo bytes=23409B hard=13s\n\
        > ask carol alice echo bytes=8B hard=19s\n\
        > ask alice bob echo bytes=35583B hard=3s\n\
        > wait 5s"
        .parse()
        .unwrap();
    let recording = record_scenario(&scenario);
    assert_eq!(recording.broken(), Vec::<String>::new());
    let names = recording.names();
    let lines: Vec<String> = recording.transcript.iter().map(|entry| names.line(entry)).collect();
    let early = lines.iter().any(|line| line.contains("carol    has the verdict of #1: reply"));
    assert!(early, "{lines:#?}");
}

/// Storm 194713: a session was ended after everything in it had been answered. An answer was still on its way when the peer was asked
/// whether it knew the session, as something said in it had come too late; and the query counted as lost.
#[test]
fn an_answer_on_its_way_outlives_its_session() {
    keeps_every_promise(
        "> seed 194713\n\
        > network latency=7.754ms jitter=0us chunks=whole buffer=3257B\n\
        > node alice\n\
        > node bob\n\
        > node carol\n\
        > node dave incoming_per_peer=2 idle=100s\n\
        > ask dave carol no bytes=18103B hard=10.199408s\n\
        > ask carol dave echo bytes=8B hard=13.579889s\n\
        > ask dave carol echo bytes=19610B hard=13.579889s\n\
        > wait 172ms",
    );
}

/// Storm 186620: a peer that had crashed took nothing of a reply, and as much waited for it that it was not read from either. That it
/// did not answer was laid to this, so that the connection was never given up and every other query went into it.
#[test]
fn a_peer_that_is_not_read_from_may_be_dead() {
    keeps_every_promise(
        "> seed 186620\n\
        > network latency=22.172ms jitter=0us chunks=whole buffer=18996B\n\
        > node alice maintained_connections=2 reply_bytes_per_peer=20527 connect=2s authenticate=2s idle=30s probe_idle=3s probe_waiting=1s probe_answer=2s lookup=4s session=40s\n\
        > node carol assembly_bytes_per_peer=25110 connect=2s authenticate=2s idle=30s probe_idle=3s probe_waiting=1s probe_answer=2s lookup=4s\n\
        > ask carol alice echo bytes=8B hard=9.730064s\n\
        > wait 167ms\n\
        > block alice carol\n\
        > ask alice carol echo bytes=35406B hard=16.66014s\n\
        > ask carol alice echo bytes=10562B hard=16.66014s\n\
        > wait 384ms\n\
        > wait 713ms\n\
        > crash carol\n\
        > heal",
    );
}

/// Storm 1376 of those with slow links: a session ended over one connection while the first record in it was still on its way over
/// another. The long one behind it ended that connection, though the node that took it had dialled it.
#[test]
fn whoever_has_dialled_takes_long_packets_at_once() {
    keeps_every_promise(
        "> seed 1376\n\
        > network latency=7.392ms jitter=0us chunks=whole buffer=5599B bandwidth=3856\n\
        > node alice\n\
        > node bob\n\
        > ask alice bob echo bytes=8859B hard=3.207232s\n\
        > ask bob alice echo bytes=8B hard=3.207232s\n\
        > wait 336ms\n\
        > crash alice\n\
        > wait 633ms\n\
        > break-next 506B\n\
        > wait 500ms\n\
        > start alice\n\
        > ask bob alice echo bytes=4918B hard=19.058998s\n\
        > ask alice bob echo bytes=1333B hard=19.058998s\n\
        > wait 125ms\n\
        > heal",
    );
}

/// Storm 602864: half of a query was lost with a connection, and then the message that it was given up with the next one. So it kept one
/// of the two places that the peer had, and the next query was refused.
#[test]
fn what_is_given_up_is_said_again_when_a_connection_ends() {
    keeps_every_promise(
        "> seed 602864\n\
        > network latency=26.889ms jitter=0us chunks=whole buffer=3056B\n\
        > node alice\n\
        > node carol incoming_per_peer=2 connect=2s authenticate=2s idle=30s probe_idle=3s probe_waiting=1s probe_answer=2s lookup=4s session=24s\n\
        > ask alice carol no bytes=25068B hard=6.115212s\n\
        > wait 320ms\n\
        > break-next 116B\n\
        > cut carol alice\n\
        > wait 381ms\n\
        > ask alice carol echo bytes=8B hard=8.874247s\n\
        > heal",
    );
}

/// Storm 738314: of two sessions that were made at once one ended, over the other's connection, while the first record in it was still on
/// its way; what came behind it on its own connection ended that.
#[test]
fn a_session_outlives_the_first_record_on_the_connection_over_which_it_was_made() {
    keeps_every_promise(
        "> seed 738314\n\
        > network latency=12.193ms jitter=0us chunks=whole buffer=64KiB bandwidth=2792\n\
        > node alice connections=2 unauthenticated_connections=3 query_bytes=23232 incoming_per_peer=1 reply_bytes_per_peer=30057 idle=100s\n\
        > node bob\n\
        > ask bob alice echo bytes=6145B hard=273.341ms\n\
        > ask alice bob echo bytes=8B hard=273.341ms\n\
        > heal",
    );
}

/// Storm 755402: both ends had agreed to leave a connection on which an answer was still taken. When the peer took nothing for five
/// seconds it was closed, though any other connection would have waited for ten.
#[test]
fn a_connection_that_is_left_is_as_patient_as_any_other() {
    keeps_every_promise(
        "> seed 755402\n\
        > network latency=22.297ms jitter=0us chunks=whole buffer=1713B bandwidth=339898\n\
        > node alice idle=100s down=21489\n\
        > node bob\n\
        > node carol assembly_bytes_per_peer=43334 idle=100s down_per_connection=3500\n\
        > ask alice carol echo bytes=8B hard=19.584879s\n\
        > ask carol alice echo bytes=34234B hard=19.584879s\n\
        > wait 1.888s\n\
        > wait 1.15s\n\
        > wait 10ms\n\
        > wait 1.683s\n\
        > wait 27ms\n\
        > wait 25ms\n\
        > wait 1.189s\n\
        > wait 203ms\n\
        > block alice carol\n\
        > wait 1.536s\n\
        > wait 289ms\n\
        > wait 90ms\n\
        > wait 998ms\n\
        > wait 693ms\n\
        > wait 859ms\n\
        > wait 870ms\n\
        > heal",
    );
}

/// Storm 860255: a session ended while a query in it was on its way over another connection than the news of that. The answer to what
/// came too late overtook the news, and the query, of which the peer had taken nothing, counted as lost there.
#[test]
fn what_was_taken_in_a_session_is_known_before_that_there_is_none() {
    keeps_every_promise(
        "> seed 860255\n\
        > network latency=29.738ms jitter=10.81ms chunks=any buffer=1640B bandwidth=5114\n\
        > node alice\n\
        > node bob\n\
        > ask bob alice echo bytes=6626B hard=5.84444s\n\
        > ask alice bob echo bytes=2462B hard=5.84444s\n\
        > wait 314ms\n\
        > notify bob alice\n\
        > wait 447ms\n\
        > ask alice bob echo bytes=8704B hard=860.141ms\n\
        > heal",
    );
}

/// Storm 1002172: the news that a session had ended went first over a connection that the peer had not met this node on yet, and over
/// another, where it came sooner. What followed on the first was from nobody that the peer knew, and ended it.
#[test]
fn the_end_of_a_session_is_not_what_a_peer_is_met_with() {
    keeps_every_promise(
        "> seed 1002172\n\
        > network latency=48.073ms jitter=3.666ms chunks=any buffer=1425B\n\
        > node alice\n\
        > node bob\n\
        > node carol\n\
        > node dave\n\
        > node erin\n\
        > block carol erin\n\
        > block dave erin\n\
        > ask erin carol empty bytes=8B hard=7.252127s\n\
        > block alice erin\n\
        > ask dave carol no bytes=8B hard=18.338934s\n\
        > ask erin alice never bytes=24871B hard=9.422883s\n\
        > wait 1.852s\n\
        > ask alice erin empty bytes=8B hard=18.518276s\n\
        > wait 648ms\n\
        > ask erin dave echo bytes=8B hard=10.372471s\n\
        > wait 1.417s\n\
        > unblock alice erin\n\
        > wait 1.083s\n\
        > freeze erin\n\
        > wait 373ms\n\
        > wait 516ms\n\
        > wait 1.3s\n\
        > power-off alice\n\
        > start alice\n\
        > ask alice erin empty bytes=8B hard=10.024666s\n\
        > heal",
    );
}

/// Storm 1306085: a session was old, and ended without a word since the peer was away; but it had just been asked about on a connection
/// that was being opened, and the peer took it for one that is held and asked something in it.
#[test]
fn a_session_does_not_end_while_the_peer_is_asked_about_it() {
    keeps_every_promise(
        "> seed 1306085\n\
        > network latency=35.748ms jitter=0us chunks=whole buffer=64KiB\n\
        > node alice\n\
        > node bob\n\
        > node carol connect=2s authenticate=2s idle=30s probe_idle=3s probe_waiting=1s probe_answer=2s lookup=4s session=38s\n\
        > node dave\n\
        > outdate alice carol\n\
        > ask alice carol never bytes=8B hard=19.27032s\n\
        > wait 239ms\n\
        > heal",
    );
}

/// Storm 1830019: a peer had started again, and did not answer what it was asked in a session that it had lost, since the two shook hands
/// on another connection meanwhile. The session waited for that answer for ever.
#[test]
fn a_session_that_a_peer_has_lost_does_not_wait_for_an_answer_in_it() {
    keeps_every_promise(
        "> seed 1830019\n\
        > network latency=3.529ms jitter=0us chunks=whole buffer=64KiB bandwidth=16051\n\
        > node alice\n\
        > node bob\n\
        > crash alice\n\
        > start alice\n\
        > ask alice bob echo bytes=3896B hard=17.248533s\n\
        > ask bob alice echo bytes=8B hard=17.248533s\n\
        > wait 88ms\n\
        > crash alice\n\
        > start alice\n\
        > ask alice bob echo bytes=8B hard=16.372024s\n\
        > heal",
    );
}

/// Storm 1959780: a peer answered twice that it holds a session, on two connections, and ended it before what came first over the second
/// one was there. It came in that session, said nothing any more, and what followed it was too long for a stranger.
#[test]
fn a_session_does_not_end_before_what_is_said_first_in_it_is_there() {
    keeps_every_promise(
        "> seed 1959780\n\
        > network latency=21.578ms jitter=0us chunks=whole buffer=1606B bandwidth=3443\n\
        > node alice reply_bytes_per_peer=25646 idle=100s up_per_connection=85682\n\
        > node bob\n\
        > ask alice bob echo bytes=6238B hard=11.441229s\n\
        > ask bob alice echo bytes=5229B hard=11.441229s\n\
        > wait 721ms\n\
        > wait 43.402ms\n\
        > wait 193ms\n\
        > ask alice bob echo bytes=10033B hard=8.521655s\n\
        > wait 500ms\n\
        > ask bob alice echo bytes=11491B hard=6.224454s\n\
        > ask alice bob echo bytes=7763B hard=6.224454s\n\
        > wait 795ms\n\
        > ask alice bob echo bytes=8B hard=15.929616s\n\
        > wait 266ms\n\
        > ask alice bob echo bytes=8B hard=3.202928s\n\
        > wait 806ms\n\
        > wait 91.589ms\n\
        > break-next 517B\n\
        > wait 683ms\n\
        > ask alice bob echo bytes=16024B hard=19.280468s\n\
        > wait 719ms\n\
        > wait 103ms\n\
        > wait 26.644ms\n\
        > crash bob\n\
        > wait 124.131ms\n\
        > start bob\n\
        > ask bob alice echo bytes=7307B hard=683.85ms\n\
        > wait 428ms\n\
        > wait 388ms\n\
        > wait 514ms\n\
        > wait 344ms\n\
        > wait 707ms\n\
        > ask bob alice echo bytes=7742B hard=7.945255s\n\
        > wait 708ms\n\
        > cut alice bob\n\
        > heal",
    );
}
