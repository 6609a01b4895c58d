//! The Throttler (*EGTP Architecture 0.2*, II.D and III.C): token buckets in integer arithmetic.
//!
//! Being throttled looks like a full buffer: the level that the driver reads says zero. The original stalled for ever when
//! everything was throttled, since it only looked again when bytes moved; here the node's own timer wakes it.

use core::time::Duration;

use crate::config::Rate;
use crate::time::Instant;

/// Bytes that may pass are counted in millionths, so that no microsecond is lost to rounding.
const MICRO: i128 = 1_000_000;

/// How much may pass at once after a pause, in parts of a second's worth.
const BURST_PARTS: i128 = 4;

/// The least that a burst holds, in bytes.
const BURST_LEAST: i128 = 1024;

/// One token bucket; without a rate everything passes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    rate: Option<Rate>,
    micro_bytes: i128,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Option<Rate>, now: Instant) -> Self {
        let mut bucket = Self { rate, micro_bytes: 0, filled: now };
        bucket.micro_bytes = bucket.burst();
        bucket
    }

    /// Changes the rate; what has been passed or saved up counts on.
    pub(crate) fn set_rate(&mut self, rate: Option<Rate>, now: Instant) {
        self.refill(now);
        self.rate = rate;
        self.micro_bytes = self.micro_bytes.min(self.burst());
    }

    pub(crate) fn refill(&mut self, now: Instant) {
        let micros = i128::try_from(now.saturating_since(self.filled).as_micros()).unwrap_or(i128::MAX / MICRO);
        self.filled = self.filled.max(now);
        let earned = micros.saturating_mul(self.rate_i128());
        self.micro_bytes = self.micro_bytes.saturating_add(earned).min(self.burst());
    }

    /// How many bytes may pass now.
    pub(crate) fn allowance(&self) -> usize {
        match self.rate {
            None => usize::MAX,
            Some(_) => usize::try_from((self.micro_bytes / MICRO).max(0)).unwrap_or(usize::MAX),
        }
    }

    /// Counts bytes that have passed. More than were allowed leave a debt.
    pub(crate) fn take(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.micro_bytes =
                self.micro_bytes.saturating_sub(i128::try_from(bytes).unwrap_or(i128::MAX / MICRO) * MICRO);
        }
    }

    /// Whether so little may pass now that it is better to wait.
    pub(crate) fn is_dry(&self) -> bool {
        self.rate.is_some() && self.micro_bytes < self.worthwhile()
    }

    /// When it is worthwhile to look again, if the bucket is dry.
    pub(crate) fn resumes(&self) -> Option<Instant> {
        self.saved_up_at(self.worthwhile())
    }

    /// When there is going to be so much, if there is not yet.
    fn saved_up_at(&self, wanted: i128) -> Option<Instant> {
        let rate = self.rate_i128();
        if rate == 0 || self.micro_bytes >= wanted {
            return None;
        }
        let missing = wanted.saturating_sub(self.micro_bytes);
        let micros = u64::try_from(missing / rate + 1).unwrap_or(u64::MAX);
        Some(self.filled + Duration::from_micros(micros))
    }

    fn rate_i128(&self) -> i128 {
        self.rate.map_or(0, |rate| i128::from(rate.as_bytes_per_second()))
    }

    fn burst(&self) -> i128 {
        (self.rate_i128() / BURST_PARTS).max(BURST_LEAST) * MICRO
    }

    fn worthwhile(&self) -> i128 {
        (self.burst() / 8).max(256 * MICRO)
    }
}

/// How long a round of a shared bucket lasts at least.
const ROUND: Duration = Duration::from_millis(20);

/// What a round should give each of those who share, in bytes: it begins when so much is saved up, or half a burst.
const WORTHWHILE_SHARE: i128 = 256;

/// A bucket that several connections share fairly. Time is cut into rounds: in each one every connection may take an equal part of
/// what there is at its beginning, and what some leave is shared in the next. Each has its part whenever it comes: the order in which
/// a driver looks at its connections makes no difference.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedBucket {
    bucket: Bucket,
    round: u64,
    share: usize,
    /// How many have taken something in this round.
    takers: usize,
    /// Whether nothing was left in this round, for whoever would have come.
    ran_dry: bool,
}

/// What one connection has taken in which round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    round: u64,
    bytes: usize,
}

impl SharedBucket {
    pub(crate) fn new(rate: Option<Rate>, now: Instant) -> Self {
        let bucket = Bucket::new(rate, now);
        Self { share: bucket.allowance(), bucket, round: 1, takers: 0, ran_dry: false }
    }

    pub(crate) fn set_rate(&mut self, rate: Option<Rate>, now: Instant) {
        self.bucket.set_rate(rate, now);
        self.begin_round(1);
    }

    pub(crate) fn refill(&mut self, now: Instant) {
        self.bucket.refill(now);
    }

    /// Shares what there is among so many, or among one more than took something in the last round if those are more: so that
    /// whoever comes new has a part as well. Says whether nothing was left in the last round.
    pub(crate) fn begin_round(&mut self, sharers: usize) -> bool {
        self.round = self.round.wrapping_add(1);
        self.share = (self.bucket.allowance() / self.expected(sharers)).max(1);
        self.takers = 0;
        core::mem::take(&mut self.ran_dry)
    }

    fn expected(&self, sharers: usize) -> usize {
        sharers.max(self.takers.saturating_add(1))
    }

    /// How many bytes a connection may pass now.
    pub(crate) fn allowance(&self, taken: &Taken) -> usize {
        if self.bucket.rate.is_none() {
            return usize::MAX;
        }
        let already = if taken.round == self.round { taken.bytes } else { 0 };
        self.bucket.allowance().min(self.share.saturating_sub(already))
    }

    pub(crate) fn take(&mut self, taken: &mut Taken, bytes: usize) {
        if taken.round != self.round {
            *taken = Taken { round: self.round, bytes: 0 };
            self.takers += 1;
        }
        taken.bytes = taken.bytes.saturating_add(bytes);
        self.bucket.take(bytes);
        self.ran_dry |= self.bucket.allowance() == 0;
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// When the next round begins, if anybody waits for it, and so many share at least.
    pub(crate) fn next_round(&self, sharers: usize, now: Instant) -> Option<NextRound> {
        let shares = i128::try_from(self.expected(sharers)).unwrap_or(i128::MAX / MICRO);
        let wanted = shares.saturating_mul(WORTHWHILE_SHARE * MICRO).min(self.bucket.burst() / 2);
        match self.bucket.saved_up_at(wanted.max(self.bucket.worthwhile())) {
            Some(at) => Some(NextRound::Saved(at)),
            None if self.bucket.rate.is_some() && self.takers > 0 => Some(NextRound::Over(now + ROUND)),
            None => None,
        }
    }
}

/// What the next round waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NextRound {
    /// Enough has been saved up by then, unless more is taken meanwhile.
    Saved(Instant),
    /// The present round is over by then.
    Over(Instant),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let mut bucket = Bucket::new(None, at_ms(0));
        bucket.take(usize::MAX);
        assert_eq!(bucket.allowance(), usize::MAX);
        assert_eq!(bucket.resumes(), None);
    }

    #[test]
    fn what_passes_in_the_long_run_is_the_rate() {
        let mut bucket = Bucket::new(Rate::bytes_per_second(7000), at_ms(0));
        let mut passed = 0;
        for ms in 0..60_000 {
            bucket.refill(at_ms(ms));
            passed += bucket.allowance();
            bucket.take(bucket.allowance());
        }
        let burst = 7000 / 4;
        assert!((60 * 7000 - burst..=60 * 7000 + burst).contains(&passed), "{passed}");
    }

    #[test]
    fn a_dry_bucket_says_when_to_come_back_and_is_worth_it_then() {
        let mut bucket = Bucket::new(Rate::bytes_per_second(7000), at_ms(0));
        bucket.take(5000);
        assert_eq!(bucket.allowance(), 0);
        let resumes = bucket.resumes().unwrap();
        bucket.refill(resumes);
        assert!(!bucket.is_dry() && bucket.allowance() >= 200);
    }

    #[test]
    fn a_clock_that_stands_still_or_leaps_neither_stalls_nor_floods() {
        let mut bucket = Bucket::new(Rate::bytes_per_second(1000), at_ms(10));
        bucket.take(1024);
        bucket.refill(at_ms(5));
        assert_eq!(bucket.allowance(), 0);
        bucket.refill(Instant::from_micros(u64::MAX));
        assert_eq!(bucket.allowance(), 1024);
    }

    #[test]
    fn whoever_comes_first_leaves_the_others_their_part() {
        let mut shared = SharedBucket::new(Rate::bytes_per_second(8000), at_ms(0));
        let mut taken = [Taken::default(); 4];
        shared.begin_round(4);
        let first = shared.allowance(&taken[0]);
        shared.take(&mut taken[0], first);
        assert_eq!((first, shared.allowance(&taken[0])), (500, 0));
        assert_eq!(shared.allowance(&taken[3]), 500);
        assert!(shared.next_round(4, at_ms(0)).is_some(), "the first one waits for the next round");
        shared.begin_round(1);
        assert_eq!(
            shared.allowance(&taken[0]),
            750,
            "what the others left is shared in the next round, with one that may come"
        );
    }

    #[test]
    fn many_who_always_come_in_the_same_order_get_the_same() {
        let mut shared = SharedBucket::new(Rate::bytes_per_second(8000), at_ms(0));
        let mut taken = [Taken::default(); 40];
        let mut got = [0; 40];
        // They join one by one, a round each; so the first ten seconds do not count.
        for ms in (0..70_000).step_by(20) {
            if ms == 10_000 {
                got = [0; 40];
            }
            shared.refill(at_ms(ms));
            if matches!(shared.next_round(1, at_ms(ms)), Some(NextRound::Saved(at)) if at > at_ms(ms)) {
                continue;
            }
            shared.begin_round(1);
            for (taken, got) in taken.iter_mut().zip(&mut got) {
                let bytes = shared.allowance(taken);
                if bytes > 0 {
                    shared.take(taken, bytes);
                    *got += bytes;
                }
            }
        }
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(most - least < most / 4, "{least} to {most}");
        assert!(got.iter().sum::<usize>() > 8000 * 60 * 9 / 10, "little is left unused");
    }

    #[test]
    fn without_a_rate_there_are_no_rounds() {
        let mut shared = SharedBucket::new(None, at_ms(0));
        let mut taken = Taken::default();
        shared.take(&mut taken, 1_000_000);
        assert_eq!((shared.allowance(&taken), shared.next_round(1, at_ms(0))), (usize::MAX, None));
    }
}
