//! Saving beside the loop, since a disk may take its time.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use egtp::{SaveId, StoreKey};

use crate::state_dir::{StateDir, StateError, file_name};

/// As many saves wait as the core can have under way with room to spare: 1024 records and the sequence number by default.
const WAITING: usize = 4096;

/// Saves values to a [`StateDir`] in a thread of its own, in the order in which they come.
pub struct Saver {
    requests: SyncSender<Request>,
    refused: Box<dyn Fn(StoreKey) -> Saved + Send>,
    thread: JoinHandle<StateDir>,
}

/// What became of a save.
#[derive(Debug)]
pub enum Saved {
    /// It is done, durably: time for [`Event::Saved`](egtp::Event::Saved).
    Done(SaveId),
    /// It failed, and the old value is still there. The node goes on without the new one.
    Failed(StoreKey, StateError),
}

struct Request {
    save: SaveId,
    key: StoreKey,
    value: Option<Vec<u8>>,
}

impl Saver {
    /// Starts the thread. It calls `report` after each save.
    ///
    /// # Errors
    ///
    /// If the system has no thread to give.
    pub fn start(dir: StateDir, report: impl Fn(Saved) + Send + 'static) -> io::Result<Self> {
        let (requests, queue) = sync_channel(WAITING);
        let path = dir.path().to_owned();
        let refused = move |key| Saved::Failed(key, StateError::TooManyWaiting(path.join(file_name(key))));
        let thread = thread::Builder::new().name("egtp-saver".into()).spawn(move || save_all(dir, &queue, &report))?;
        Ok(Self { requests, refused: Box::new(refused), thread })
    }

    /// Has a value saved, or deleted if it is `None`. Returns at once.
    ///
    /// # Errors
    ///
    /// [`Saved::Failed`] with [`StateError::TooManyWaiting`] if the disk has fallen behind by 4096 saves.
    pub fn save(&self, save: SaveId, key: StoreKey, value: Option<Vec<u8>>) -> Result<(), Saved> {
        self.requests.try_send(Request { save, key, value }).map_err(|error| match error {
            TrySendError::Full(request) | TrySendError::Disconnected(request) => (self.refused)(request.key),
        })
    }

    /// Saves what still waits, then gives the directory back. Returns `None` if the thread has panicked in `report`.
    pub fn finish(self) -> Option<StateDir> {
        drop(self.requests);
        self.thread.join().ok()
    }
}

fn save_all(dir: StateDir, queue: &Receiver<Request>, report: &impl Fn(Saved)) -> StateDir {
    for Request { save, key, value } in queue {
        report(match dir.save(key, value.as_deref()) {
            Ok(()) => Saved::Done(save),
            Err(error) => Saved::Failed(key, error),
        });
    }
    dir
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;
    use egtp::{Action, CheckedConfig, Event, Identity, Instant, Node, ServiceAction, Stored, Strategies, UnixTime};
    use std::fs;
    use std::sync::mpsc;

    /// A node that has just been told to announce itself, and the save that it asks for first.
    fn announcing_node() -> (Node, SaveId, StoreKey, Option<Vec<u8>>) {
        let identity = Identity::from_seed(&[1; 32]);
        let unix = UnixTime::from_secs(1_000_000);
        let mut node = Node::new(CheckedConfig::default(), identity, [2; 32], Stored::default(), Instant::ZERO, unix);
        node.announce(Instant::ZERO, Strategies::default()).unwrap();
        while let Some(action) = node.poll() {
            if let Action::Service(ServiceAction::Save { save, key, value }) = action {
                return (node, save, key, value);
            }
        }
        panic!("nothing is to be saved");
    }

    fn publishes(node: &mut Node) -> bool {
        std::iter::from_fn(|| node.poll())
            .any(|action| matches!(action, Action::Service(ServiceAction::Publish { .. })))
    }

    #[test]
    fn a_node_publishes_its_record_once_its_sequence_number_is_on_the_disk() {
        let test = TestDir::new();
        let (mut node, save, key, value) = announcing_node();
        assert!(!publishes(&mut node));
        let (report, reports) = mpsc::channel();
        let dir = StateDir::open(&test.path("state")).unwrap();
        let saver = Saver::start(dir, move |saved| report.send(saved).unwrap()).unwrap();
        saver.save(save, key, value).unwrap();
        let Saved::Done(done) = reports.recv().unwrap() else { panic!("the save failed") };
        node.handle(Instant::ZERO, Event::Saved(done));
        assert!(publishes(&mut node));
        assert!(saver.finish().unwrap().load().is_ok());
        assert!(test.path("state/sequence").exists());
    }

    #[test]
    fn finishing_saves_what_still_waits() {
        let test = TestDir::new();
        let (_node, save, _, _) = announcing_node();
        let dir = StateDir::open(&test.path("state")).unwrap();
        let saver = Saver::start(dir, |_| {}).unwrap();
        for owner in 0..50 {
            let key = StoreKey::Record(Identity::from_seed(&[owner; 32]).node_id());
            saver.save(save, key, Some(vec![owner])).unwrap();
        }
        saver.finish().unwrap();
        assert_eq!(fs::read_dir(test.path("state")).unwrap().count(), 51, "50 values and the lock");
    }

    #[test]
    fn a_failed_save_is_reported() {
        let test = TestDir::new();
        let (_node, save, key, value) = announcing_node();
        let (report, reports) = mpsc::channel();
        let dir = StateDir::open(&test.path("state")).unwrap();
        fs::remove_dir_all(test.path("state")).unwrap();
        let saver = Saver::start(dir, move |saved| report.send(saved).unwrap()).unwrap();
        saver.save(save, key, value).unwrap();
        assert!(matches!(reports.recv().unwrap(), Saved::Failed(failed, StateError::System(..)) if failed == key));
    }

    #[test]
    fn a_disk_that_does_not_keep_up_refuses_what_comes_instead_of_holding_it_all() {
        let test = TestDir::new();
        let (_node, save, key, _) = announcing_node();
        let (release, blocked) = mpsc::channel::<()>();
        let dir = StateDir::open(&test.path("state")).unwrap();
        // The thread waits in its first report until `release` is dropped.
        let wait = move |_| {
            let _ = blocked.recv();
        };
        let saver = Saver::start(dir, wait).unwrap();
        let refused = (0..WAITING + 2).find_map(|_| saver.save(save, key, None).err());
        assert!(matches!(refused, Some(Saved::Failed(_, StateError::TooManyWaiting(_)))));
        drop(release);
        assert!(saver.finish().is_some());
    }
}
