//! How many handshakes are computed in a second.

use core::time::Duration;

use crate::random::Random;
use crate::session::CookieJar;
use crate::time::Instant;

/// Above so many handshakes in a second, the initiator has to show a cookie first.
const COOKIES_ABOVE: u32 = 100;

/// How long a cookie secret is used; cookies made with the one before are still good.
const COOKIE_SECRET_LIFE: Duration = Duration::from_secs(60);

/// What is done about the first message of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Compute,
    /// The initiator has to come back with this cookie.
    Retry([u8; 16]),
    Busy,
}

pub(crate) struct HandshakeBudget {
    per_second: u32,
    second_began: Instant,
    computed: u32,
    cookies: CookieJar,
    cookie_secret_since: Instant,
}

impl HandshakeBudget {
    pub(crate) fn new(per_second: u32, random: &mut Random, now: Instant) -> Self {
        let cookies = CookieJar::new(random.cookie_secret());
        Self { per_second, second_began: now, computed: 0, cookies, cookie_secret_since: now }
    }

    /// Whether a handshake is computed that came by `path`, under this name, with this ephemeral key. Under pressure, of handshakes or since
    /// `crowded`, the initiator has to show a cookie; beyond the budget it is told to wait. Both answers are smaller than the question.
    pub(crate) fn judge(
        &mut self,
        (path, isid, ephemeral): (u64, [u8; 8], &[u8; 32]),
        cookie: &[u8; 16],
        crowded: bool,
        random: &mut Random,
        now: Instant,
    ) -> Verdict {
        if now.saturating_since(self.cookie_secret_since) >= COOKIE_SECRET_LIFE {
            self.cookie_secret_since = now;
            self.cookies.rotate(random.cookie_secret());
        }
        if now.saturating_since(self.second_began) >= Duration::from_secs(1) {
            self.second_began = now;
            self.computed = 0;
        }
        let pressed = crowded || self.computed >= COOKIES_ABOVE;
        if pressed && !self.cookies.check(cookie, path, isid, ephemeral) {
            return Verdict::Retry(self.cookies.make(path, isid, ephemeral));
        }
        if self.computed >= self.per_second {
            return Verdict::Busy;
        }
        self.computed += 1;
        Verdict::Compute
    }
}
