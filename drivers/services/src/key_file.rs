//! The file that holds a node's secret key.
//!
//! It is one line of text, 76 bytes: `egtp-key-1`, a space, the 32-byte Ed25519 seed in lower-case hexadecimal, a line feed. Only
//! its owner may read or write it. Whoever has it *is* the node; if it is lost, the node id is lost.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use egtp::Identity;
use zeroize::Zeroizing;

use crate::disk;

const PREFIX: &[u8; 11] = b"egtp-key-1 ";
const LENGTH: usize = PREFIX.len() + 64 + 1;

/// Makes a new identity from the operating system's randomness and writes it to a new file that only its owner can read.
///
/// # Errors
///
/// [`KeyFileError::Exists`] if there is a file already, which is left as it is; otherwise what the system says, and then no file is left.
pub fn create(path: &Path) -> Result<Identity, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| KeyFileError::NotWritten(path.into(), error.into()))?;
    disk::create(path, &*encode(&seed)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.into()),
        _ => KeyFileError::NotWritten(path.into(), error),
    })?;
    Ok(Identity::from_seed(&seed))
}

/// Makes a new identity that is kept nowhere.
///
/// # Errors
///
/// If the operating system has no randomness to give.
pub fn unsaved() -> io::Result<Identity> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)?;
    Ok(Identity::from_seed(&seed))
}

/// Reads the identity from a file that [`create`] wrote.
///
/// # Errors
///
/// [`KeyFileError`] says what is wrong with the file. It is only read, never changed.
pub fn load(path: &Path) -> Result<Identity, KeyFileError> {
    let not_read = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.into()),
        _ => KeyFileError::NotRead(path.into(), error),
    };
    // Asked by name first, since opening a named pipe would wait for its writer.
    if !fs::metadata(path).map_err(not_read)?.is_file() {
        return Err(KeyFileError::Malformed(path.into()));
    }
    let file = File::open(path).map_err(not_read)?;
    let mode = file.metadata().map_err(not_read)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::OpenToOthers(path.into(), mode));
    }
    let mut buffer = Zeroizing::new([0; LENGTH + 1]);
    let length = read_up_to(file, &mut *buffer).map_err(not_read)?;
    let seed = decode(&buffer[..length]).map_err(|problem| match problem {
        Problem::Malformed => KeyFileError::Malformed(path.into()),
        Problem::UnknownVersion => KeyFileError::UnknownVersion(path.into()),
    })?;
    Ok(Identity::from_seed(&seed))
}

/// Why there is no key. Its text is one line that says what is wrong with which file and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is a file already where a new one should go.
    Exists(PathBuf),
    /// There is no file.
    Missing(PathBuf),
    /// Others than its owner may read or write it; its permission bits.
    OpenToOthers(PathBuf, u32),
    /// It is not of the form, or not of the length, that a key file has.
    Malformed(PathBuf),
    /// It is a key file of a version that is not known here.
    UnknownVersion(PathBuf),
    /// The system could not read it.
    NotRead(PathBuf, io::Error),
    /// The system could not write it, or had no randomness to give.
    NotWritten(PathBuf, io::Error),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => {
                let path = path.display();
                write!(f, "{path} exists already and was left as it is: name another file, or move this one away first")
            }
            Self::Missing(path) => {
                let path = path.display();
                write!(f, "there is no key file {path}: name another, or make it with `egtp keygen --key {path}`")
            }
            Self::OpenToOthers(path, mode) => {
                let path = path.display();
                write!(f, "others may read or write the key file {path} (mode {mode:04o}): run `chmod 600 {path}`")
            }
            Self::Malformed(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path} is not a key file ({LENGTH} bytes that begin with `egtp-key-1`): \
                     restore it from a backup, or name another"
                )
            }
            Self::UnknownVersion(path) => {
                let path = path.display();
                write!(
                    f,
                    "the key file {path} has a version other than 1, perhaps of a newer program: \
                     use that program, or name another file"
                )
            }
            Self::NotRead(path, error) => {
                write!(f, "the key file {} cannot be read: {error}: correct this, or name another file", path.display())
            }
            Self::NotWritten(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "the key file {path} cannot be written: {error}: nothing was kept; correct this and try again"
                )
            }
        }
    }
}

impl std::error::Error for KeyFileError {}

/// Fills `buffer` from the file as far as it goes; a key file is one byte shorter, so that a longer file is noticed.
fn read_up_to(mut file: File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

enum Problem {
    Malformed,
    UnknownVersion,
}

fn encode(seed: &[u8; 32]) -> Zeroizing<[u8; LENGTH]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = Zeroizing::new([b'\n'; LENGTH]);
    line[..PREFIX.len()].copy_from_slice(PREFIX);
    for (pair, byte) in line[PREFIX.len()..LENGTH - 1].chunks_exact_mut(2).zip(seed) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    line
}

fn decode(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, Problem> {
    let Some(rest) = bytes.strip_prefix(PREFIX) else {
        let is_some_version = bytes.strip_prefix(b"egtp-key-").is_some_and(|rest| rest.contains(&b' '));
        return Err(if is_some_version { Problem::UnknownVersion } else { Problem::Malformed });
    };
    let digits = rest.strip_suffix(b"\n").filter(|digits| digits.len() == 64).ok_or(Problem::Malformed)?;
    let mut seed = Zeroizing::new([0; 32]);
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (value(pair[0])? << 4) | value(pair[1])?;
    }
    Ok(seed)
}

fn value(digit: u8) -> Result<u8, Problem> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(Problem::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;

    fn key_file(dir: &TestDir, bytes: &[u8], mode: u32) -> PathBuf {
        let path = dir.write("key", bytes);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refusal(bytes: &[u8]) -> KeyFileError {
        let dir = TestDir::new();
        load(&key_file(&dir, bytes, 0o600)).unwrap_err()
    }

    fn line(seed: [u8; 32]) -> Vec<u8> {
        encode(&seed).to_vec()
    }

    #[test]
    fn a_new_key_is_private_and_loads_as_the_same_identity() {
        let dir = TestDir::new();
        let path = dir.path("key");
        let created = create(&path).unwrap();
        assert_eq!(load(&path).unwrap().node_id(), created.node_id());
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, LENGTH as u64));
    }

    #[test]
    fn two_new_keys_differ() {
        let dir = TestDir::new();
        assert_ne!(create(&dir.path("a")).unwrap().node_id(), create(&dir.path("b")).unwrap().node_id());
    }

    #[test]
    fn the_file_holds_the_seed_in_hexadecimal() {
        let dir = TestDir::new();
        let text = format!("egtp-key-1 {}\n", "0a".repeat(32));
        let path = key_file(&dir, text.as_bytes(), 0o600);
        assert_eq!(load(&path).unwrap().node_id(), Identity::from_seed(&[10; 32]).node_id());
    }

    #[test]
    fn a_file_that_exists_is_never_overwritten() {
        let dir = TestDir::new();
        let path = dir.write("key", b"precious");
        assert!(matches!(create(&path), Err(KeyFileError::Exists(named)) if named == path));
        assert_eq!(fs::read(path).unwrap(), b"precious");
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = TestDir::new();
        let path = dir.path("key");
        assert!(matches!(load(&path), Err(KeyFileError::Missing(named)) if named == path));
    }

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused() {
        let dir = TestDir::new();
        for mode in [0o644, 0o640, 0o602, 0o660] {
            let path = key_file(&dir, &line([1; 32]), mode);
            assert!(matches!(load(&path), Err(KeyFileError::OpenToOthers(_, found)) if found == mode), "{mode:o}");
        }
        assert!(load(&key_file(&dir, &line([1; 32]), 0o400)).is_ok());
    }

    #[test]
    fn every_wrong_length_is_refused() {
        let right = line([1; 32]);
        for length in 0..right.len() {
            assert!(matches!(refusal(&right[..length]), KeyFileError::Malformed(_)), "{length}");
        }
        assert!(matches!(refusal(&[&right[..], b"\n"].concat()), KeyFileError::Malformed(_)));
    }

    #[test]
    fn what_is_no_hexadecimal_is_refused() {
        let mut upper = line([0xab; 32]);
        upper[20] = b'A';
        assert!(matches!(refusal(&upper), KeyFileError::Malformed(_)));
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        assert!(matches!(refusal(b"egtp-key-2 whatever comes then\n"), KeyFileError::UnknownVersion(_)));
        assert!(matches!(refusal(&[b'x'; LENGTH]), KeyFileError::Malformed(_)));
    }

    #[test]
    fn a_directory_is_no_key_file() {
        let dir = TestDir::new();
        assert!(matches!(load(&dir.path(".")), Err(KeyFileError::Malformed(_))));
    }

    #[test]
    fn every_error_is_one_line_that_names_the_file_and_shows_no_secret() {
        let path = PathBuf::from("/some/key");
        let error = || io::Error::other("why");
        for error in [
            KeyFileError::Exists(path.clone()),
            KeyFileError::Missing(path.clone()),
            KeyFileError::OpenToOthers(path.clone(), 0o644),
            KeyFileError::Malformed(path.clone()),
            KeyFileError::UnknownVersion(path.clone()),
            KeyFileError::NotRead(path.clone(), error()),
            KeyFileError::NotWritten(path.clone(), error()),
        ] {
            let text = error.to_string();
            assert!(text.contains("/some/key") && !text.contains('\n'), "{text}");
        }
    }
}
