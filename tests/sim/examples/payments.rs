//! An application tested on the simulator: a shop pays at a bank, and whenever a connection is cut, each payment is booked once.
//! `cargo run --release -p egtp-sim --example payments`
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::{Delivery, Executed, Query, QueryId, Verdict};
use egtp_sim::{Network, NodeIndex, World, scene::type_name};

/// The shop asks for a payment again only if that cannot book it twice; if in doubt, it asks what the bank has booked.
#[derive(Debug, Default)]
struct Application {
    booked: BTreeMap<u8, usize>,
    asked: BTreeMap<QueryId, u8>,
    in_doubt: BTreeSet<u8>,
}

impl Application {
    fn pay(&mut self, world: &mut World, [shop, bank]: [NodeIndex; 2], payment: u8) {
        let only_asks = u8::from(self.in_doubt.contains(&payment));
        let query = Query::new(type_name("payment"), vec![payment, only_asks]).hard_timeout(Duration::from_secs(30));
        self.asked.insert(world.query(shop, bank, query).expect("the query is within the limits"), payment);
    }

    fn on(&mut self, world: &mut World, [shop, bank]: [NodeIndex; 2], delivery: Delivery) {
        if let Delivery::Query { body, token, .. } = delivery {
            let booked = self.booked.entry(body[0]).or_default();
            *booked += usize::from(body[1] == 0);
            world.reply(bank, token, vec![u8::from(*booked > 0)]);
        } else if let Delivery::Verdict { query, verdict, .. } = delivery {
            let payment = self.asked.remove(&query).expect("every verdict is that of a query");
            let _changed = match verdict {
                Verdict::Reply(reply) if reply.body == [1] => return,
                Verdict::Failed(failure) if failure.executed == Executed::Maybe => self.in_doubt.insert(payment),
                Verdict::Reply(_) => self.in_doubt.remove(&payment),
                Verdict::Failed(_) => false,
            };
            self.pay(world, [shop, bank], payment);
        }
    }
}

fn main() {
    for seed in 0..200 {
        let (mut world, mut application) = (World::new(seed, Network::default()), Application::default());
        let nodes = [world.add_node(), world.add_node()];
        world.node(nodes[1]).serve(type_name("payment")).expect("a type is within the limits");
        for payment in 0..50 {
            application.pay(&mut world, nodes, payment);
            let pause = Duration::from_micros(seed * 7919 * u64::from(payment) % 30_000);
            world.run(pause, |world, _, delivery| application.on(world, nodes, delivery));
            if payment % 3 == 0 {
                world.cut(nodes[0], nodes[1]);
            }
        }
        world.run(Duration::from_secs(60), |world, _, delivery| application.on(world, nodes, delivery));
        assert!((0..50).all(|payment| application.booked.get(&payment) == Some(&1)), "seed {seed}: {application:?}");
    }
    println!("200 worlds, 50 payments in each, every one booked once");
}
