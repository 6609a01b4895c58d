//! Flood cookies: what a stranger must show to prove that it receives what is sent to its path, before this node spends a
//! Diffie-Hellman on it. Nothing is stored for a cookie.

use siphasher::sip128::SipHasher24;
use zeroize::Zeroizing;

type Secret = Zeroizing<[u8; 16]>;

/// Makes cookies with its current secret, and accepts those made with the current or the previous one.
pub(crate) struct CookieJar {
    current: Secret,
    previous: Option<Secret>,
}

impl CookieJar {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self { current: Zeroizing::new(secret), previous: None }
    }

    /// Puts a fresh secret in use. Cookies of the one before last are worth nothing from now on.
    pub(crate) fn rotate(&mut self, secret: [u8; 16]) {
        self.previous = Some(core::mem::replace(&mut self.current, Zeroizing::new(secret)));
    }

    /// The cookie for a first message that came by `path` with this session number and this ephemeral public key.
    pub(crate) fn make(&self, path: u64, isid: [u8; 8], e: &[u8; 32]) -> [u8; 16] {
        cookie(&self.current, path, isid, e)
    }

    /// Whether the cookie was made here for exactly this, not too long ago.
    pub(crate) fn check(&self, shown: &[u8; 16], path: u64, isid: [u8; 8], e: &[u8; 32]) -> bool {
        let is_of = |secret| is_equal(&cookie(secret, path, isid, e), shown);
        is_of(&self.current) || self.previous.as_ref().is_some_and(is_of)
    }
}

fn cookie(secret: &Secret, path: u64, isid: [u8; 8], e: &[u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 48];
    let fields = path.to_be_bytes().into_iter().chain(isid).chain(*e);
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = field;
    }
    SipHasher24::new_with_key(secret).hash(&bytes).as_bytes()
}

/// Compares in a time that does not tell how much of a guess is right.
fn is_equal(a: &[u8; 16], b: &[u8; 16]) -> bool {
    a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISID: [u8; 8] = *b"one isid";
    const E: [u8; 32] = [5; 32];

    #[test]
    fn a_cookie_is_good_for_its_path_session_number_and_key_only() {
        let jar = CookieJar::new([1; 16]);
        let cookie = jar.make(7, ISID, &E);
        assert!(jar.check(&cookie, 7, ISID, &E));
        assert!(!jar.check(&cookie, 8, ISID, &E));
        assert!(!jar.check(&cookie, 7, *b"two isid", &E));
        assert!(!jar.check(&cookie, 7, ISID, &[6; 32]));
    }

    #[test]
    fn a_cookie_with_any_bit_altered_is_refused() {
        let jar = CookieJar::new([1; 16]);
        let cookie = u128::from_be_bytes(jar.make(7, ISID, &E));
        for bit in 0..128 {
            assert!(!jar.check(&(cookie ^ (1 << bit)).to_be_bytes(), 7, ISID, &E), "bit {bit}");
        }
        assert!(!jar.check(&[0; 16], 7, ISID, &E));
    }

    #[test]
    fn a_cookie_outlives_one_rotation_and_not_two() {
        let mut jar = CookieJar::new([1; 16]);
        let old = jar.make(7, ISID, &E);
        jar.rotate([2; 16]);
        assert!(jar.check(&old, 7, ISID, &E));
        assert!(jar.check(&jar.make(7, ISID, &E), 7, ISID, &E));
        assert_ne!(jar.make(7, ISID, &E), old);
        jar.rotate([3; 16]);
        assert!(!jar.check(&old, 7, ISID, &E));
    }

    #[test]
    fn a_cookie_of_another_secret_is_refused() {
        let foreign = CookieJar::new([2; 16]).make(7, ISID, &E);
        assert!(!CookieJar::new([1; 16]).check(&foreign, 7, ISID, &E));
    }
}
