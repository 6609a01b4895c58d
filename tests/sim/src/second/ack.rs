//! What an ACK names: runs of counters (sections 10 and 13).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::frame::{Frame, MAX_RUNS, Run};

/// The counters that runs name, the highest first; nothing if the runs are malformed.
pub fn named(largest: u64, runs: &[Run]) -> Option<Vec<RangeInclusive<u64>>> {
    let last = runs.len().checked_sub(1).filter(|_| runs.len() <= MAX_RUNS)?;
    // What is above the next run, so that nothing goes below 0.
    let mut above = u128::from(largest) + 1;
    let mut ranges = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        if run.length == 0 || (run.gap == 0) != (at == last) {
            return None;
        }
        let lowest = above.checked_sub(u128::from(run.length))?;
        ranges.push(u64::try_from(lowest).ok()?..=u64::try_from(above - 1).ok()?);
        above = lowest.checked_sub(u128::from(run.gap))?;
    }
    Some(ranges)
}

/// An ACK that names these counters, as far as runs reach from the highest one down; nothing if there are none.
pub fn naming(counters: &BTreeSet<u64>, delay: u16) -> Option<Frame> {
    let largest = *counters.last()?;
    let mut runs: Vec<Run> = Vec::new();
    let mut lowest = largest;
    for &counter in counters.iter().rev() {
        let Ok(missing) = u16::try_from(lowest.saturating_sub(counter).saturating_sub(1)) else { break };
        let count = runs.len();
        match runs.last_mut() {
            None => runs.push(Run { length: 1, gap: 0 }),
            Some(Run { length: u16::MAX, .. }) => break,
            Some(run) if missing == 0 => run.length += 1,
            Some(_) if count == MAX_RUNS => break,
            Some(run) => {
                run.gap = missing;
                runs.push(Run { length: 1, gap: 0 });
            }
        }
        lowest = counter;
    }
    Some(Frame::Ack { largest, delay, runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(counters: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
        let Some(Frame::Ack { largest, runs, delay: 3 }) = naming(counters, 3) else { panic!("no ACK") };
        named(largest, &runs).expect("well-formed runs")
    }

    #[test]
    fn the_example_of_the_protocol() {
        let frame = naming(&BTreeSet::from([12, 11, 10, 7, 3]), 9);
        let runs = [(3, 2), (1, 3), (1, 0)].map(|(length, gap)| Run { length, gap }).to_vec();
        assert_eq!(frame, Some(Frame::Ack { largest: 12, delay: 9, runs }));
    }

    #[test]
    fn whatever_is_named_is_read_again() {
        let counters = BTreeSet::from([0, 1, 5, 6, 7, 1023, u64::MAX]);
        // From the last one nothing below is in reach.
        assert_eq!(ranges(&counters), [u64::MAX..=u64::MAX]);
        let counters: BTreeSet<u64> = counters.into_iter().filter(|&counter| counter < u64::MAX).collect();
        assert_eq!(ranges(&counters), [1023..=1023, 5..=7, 0..=1]);
        assert_eq!(ranges(&(0..70_000).collect()), [4_465..=69_999]);
        assert_eq!(naming(&BTreeSet::new(), 3), None);
    }

    #[test]
    fn of_more_than_32_runs_the_highest_are_named() {
        let counters: BTreeSet<u64> = (0..100).map(|number| 2 * number).collect();
        let ranges = ranges(&counters);
        assert_eq!((ranges.len(), ranges[0].clone(), ranges[31].clone()), (32, 198..=198, 136..=136));
    }
}
