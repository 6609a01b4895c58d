//! A process that has run out of file descriptors. It is the only test of its process, since the limit holds for the
//! whole of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use egtp::Identity;
use egtp_tokio::{Driver, Setup, Step};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::time::timeout;

#[test]
fn a_loop_without_descriptors_does_not_spin_and_accepts_when_there_are_some() {
    Builder::new_current_thread().enable_io().enable_time().build().unwrap().block_on(async {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let mut driver = Driver::<()>::open(Setup { listen, ..Setup::new(Identity::from_seed(&[1; 32])) }).unwrap();
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(driver.local_addresses()[0]).unwrap()).collect();

        let before = getrlimit(Resource::Nofile);
        // Every descriptor below the lowest free one is taken, and none above it is allowed.
        let lowest_free = u64::try_from(File::open("/dev/null").unwrap().as_raw_fd()).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowest_free), maximum: before.maximum }).unwrap();
        let cpu_before = cpu_time();
        let nothing_but_notes = async { while matches!(driver.next().await.unwrap(), Step::Note(_)) {} };
        assert!(timeout(Duration::from_secs(1), nothing_but_notes).await.is_err());
        let cpu_used = cpu_time() - cpu_before;
        assert_eq!(driver.node().usage().connections, 0);
        assert!(cpu_used < Duration::from_millis(500), "the loop spun for {cpu_used:?} of a second");

        setrlimit(Resource::Nofile, before).unwrap();
        let end = driver.now() + Duration::from_secs(20);
        while driver.node().usage().connections < clients.len() {
            assert!(driver.now() < end, "the connections that waited were not accepted");
            let _ = timeout(Duration::from_millis(10), driver.next()).await;
        }
    });
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}
