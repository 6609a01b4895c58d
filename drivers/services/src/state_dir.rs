//! The directory that keeps what must outlive the process.
//!
//! There is one file for each [`StoreKey`]: `sequence`, and `record-<node id>`. A file is the line `egtp-state-1 NAME LENGTH`, then the
//! value, LENGTH bytes, then the SHA-256 of all of that. NAME is the file's own, so that a file that was renamed is noticed. A
//! file is replaced by renaming a finished one over it, so it is old or new, never half. The file `lock` is held locked
//! while a process uses the directory. What has any other name is left alone.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use egtp::{CorruptStore, StoreKey, Stored};
use sha2::{Digest as _, Sha256};

use crate::disk;

const MAGIC: &str = "egtp-state-";
const VERSION: &str = "1";
const LOCK: &str = "lock";
const TEMPORARY: &str = ".tmp";
const CHECKSUM: usize = 32;
/// No value is longer than this; a longer file is damaged, and is not read into memory.
const MAX_FILE: u64 = 16 << 20;

/// An open state directory. While it lives no other process can open it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Opens the directory, or creates it, for its owner only.
    ///
    /// # Errors
    ///
    /// [`StateError::InUse`] if another process, or this one, has it open; [`StateError::System`] if the system refuses.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let lock_path = path.join(LOCK);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| StateError::System(path.into(), error))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| StateError::System(lock_path.clone(), error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(path.into())),
            Err(TryLockError::Error(error)) => Err(StateError::System(lock_path, error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads everything that was saved and has the core check it. Nothing is changed, whatever is found.
    ///
    /// # Errors
    ///
    /// [`StateError`] names the first file that is damaged, of another version, or not readable.
    pub fn load(&self) -> Result<Stored, StateError> {
        let mut entries = Vec::new();
        for name in self.names()? {
            if let Some(key) = key_of(&name).map_err(|Damaged| StateError::Damaged(self.path.join(&name)))? {
                entries.push((key, self.read(&name)?));
            }
        }
        Stored::parse(entries.iter().map(|(key, value)| (*key, value.as_slice())))
            .map_err(|CorruptStore(key)| StateError::Damaged(self.path.join(file_name(key))))
    }

    /// Saves a value durably, or deletes it. On return it has survived a loss of power.
    ///
    /// # Errors
    ///
    /// [`StateError::System`], and then the old value is still there.
    pub fn save(&self, key: StoreKey, value: Option<&[u8]>) -> Result<(), StateError> {
        let name = file_name(key);
        let path = self.path.join(&name);
        let done = match value {
            // Only one process writes here, one value at a time, so that one temporary name is enough.
            Some(value) => disk::replace(&path, &self.path.join(TEMPORARY), &encode(&name, value)),
            None => disk::remove(&path),
        };
        done.map_err(|error| StateError::System(path, error))
    }

    fn names(&self) -> Result<Vec<String>, StateError> {
        let system = |error| StateError::System(self.path.clone(), error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(system)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry.map_err(system)?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, StateError> {
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(StateError::System(path, error));
        }
        match decode(name, &bytes) {
            Ok(value) => Ok(value.to_vec()),
            Err(Unusable::Damaged) => Err(StateError::Damaged(path)),
            Err(Unusable::UnknownVersion) => Err(StateError::UnknownVersion(path)),
        }
    }
}

/// Why stored state cannot be used. Its text is one line that says what is wrong with which file and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum StateError {
    /// Another process uses the directory.
    InUse(PathBuf),
    /// The file's contents are not what was written.
    Damaged(PathBuf),
    /// The file has a version that is not known here.
    UnknownVersion(PathBuf),
    /// The system could not read, write or create it.
    System(PathBuf, io::Error),
    /// So many values wait to be saved that this one was not taken.
    TooManyWaiting(PathBuf),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => {
                let path = path.display();
                write!(
                    f,
                    "the state directory {path} is in use by another process: \
                     end that process, or name another directory or key"
                )
            }
            Self::Damaged(path) => {
                let path = path.display();
                write!(
                    f,
                    "the stored state {path} is damaged, and was left as it is: \
                     restore it from a backup, or move it away to go on without it"
                )
            }
            Self::UnknownVersion(path) => {
                let path = path.display();
                write!(
                    f,
                    "the stored state {path} has a version other than {VERSION}, perhaps of a newer program: \
                     use that program, or name another directory"
                )
            }
            Self::System(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "the stored state {path} cannot be used: {error}: \
                     what was there is unharmed; correct this and try again"
                )
            }
            Self::TooManyWaiting(path) => {
                let path = path.display();
                write!(
                    f,
                    "the stored state {path} was not updated, since the disk does not keep up: \
                     what was there is unharmed"
                )
            }
        }
    }
}

impl std::error::Error for StateError {}

struct Damaged;

/// The key whose value the file of this name holds; `None` if the file is none of ours.
fn key_of(name: &str) -> Result<Option<StoreKey>, Damaged> {
    match name.strip_prefix("record-") {
        // Hexadecimal is no name that was ever given, and two files for one record would contradict each other.
        Some(id) if id.len() == 32 => id.parse().map(|id| Some(StoreKey::Record(id))).map_err(|_| Damaged),
        Some(_) => Err(Damaged),
        None => Ok((name == "sequence").then_some(StoreKey::Sequence)),
    }
}

pub(crate) fn file_name(key: StoreKey) -> String {
    match key {
        StoreKey::Sequence => "sequence".into(),
        StoreKey::Record(id) => format!("record-{id}"),
    }
}

fn encode(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{MAGIC}{VERSION} {name} {}\n", value.len()).into_bytes();
    bytes.extend_from_slice(value);
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

enum Unusable {
    Damaged,
    UnknownVersion,
}

fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a [u8], Unusable> {
    // The version comes first, since the rest may look different in another one.
    let version = bytes.strip_prefix(MAGIC.as_bytes()).and_then(|rest| rest.split(|&byte| byte == b' ').next());
    match version {
        Some(version) if version == VERSION.as_bytes() => {}
        Some(version) if !version.is_empty() && version.iter().all(u8::is_ascii_digit) => {
            return Err(Unusable::UnknownVersion);
        }
        _ => return Err(Unusable::Damaged),
    }
    let (covered, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Unusable::Damaged)?;
    if Sha256::digest(covered)[..] != checksum[..] {
        return Err(Unusable::Damaged);
    }
    let line_end = covered.iter().position(|&byte| byte == b'\n').ok_or(Unusable::Damaged)?;
    let value = &covered[line_end + 1..];
    let expected = format!("{MAGIC}{VERSION} {name} {}", value.len());
    if covered[..line_end] == *expected.as_bytes() { Ok(value) } else { Err(Unusable::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;
    use egtp::{Identity, SignedRecord, Strategies};
    use std::os::unix::fs::PermissionsExt as _;

    fn read_back(dir: &StateDir, key: StoreKey) -> Result<Vec<u8>, StateError> {
        dir.read(&file_name(key))
    }

    fn some_record_key() -> StoreKey {
        StoreKey::Record(Identity::from_seed(&[4; 32]).node_id())
    }

    #[test]
    fn a_saved_value_comes_back_and_a_deleted_one_does_not() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        for value in [&b""[..], b"one", &[0xff; 5000]] {
            dir.save(StoreKey::Sequence, Some(value)).unwrap();
            assert_eq!(read_back(&dir, StoreKey::Sequence).unwrap(), value);
        }
        dir.save(StoreKey::Sequence, None).unwrap();
        dir.save(StoreKey::Sequence, None).unwrap();
        assert_eq!(dir.names().unwrap(), [LOCK]);
    }

    #[test]
    fn an_empty_directory_loads() {
        let test = TestDir::new();
        assert!(StateDir::open(&test.path("a/b/state")).unwrap().load().is_ok());
    }

    #[test]
    fn a_saved_record_loads_after_the_directory_was_closed() {
        let test = TestDir::new();
        let identity = Identity::from_seed(&[4; 32]);
        let record = SignedRecord::sign(&identity, 7, Strategies::default()).unwrap();
        let dir = StateDir::open(&test.path("state")).unwrap();
        dir.save(StoreKey::Record(identity.node_id()), Some(record.as_bytes())).unwrap();
        drop(dir);
        assert!(StateDir::open(&test.path("state")).unwrap().load().is_ok());
    }

    #[test]
    fn what_the_core_refuses_names_the_file() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        dir.save(some_record_key(), Some(b"no record")).unwrap();
        let expected = test.path("state").join(file_name(some_record_key()));
        assert!(matches!(dir.load(), Err(StateError::Damaged(path)) if path == expected));
        assert!(expected.exists());
    }

    #[test]
    fn the_directory_and_its_files_are_private() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        dir.save(StoreKey::Sequence, Some(b"1")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.path().join("sequence")), 0o600);
    }

    #[test]
    fn a_second_user_is_refused_until_the_first_has_ended() {
        let test = TestDir::new();
        let path = test.path("state");
        let first = StateDir::open(&path).unwrap();
        assert!(matches!(StateDir::open(&path), Err(StateError::InUse(named)) if named == path));
        drop(first);
        assert!(StateDir::open(&path).is_ok());
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let intact = encode("sequence", b"12345678");
        assert!(decode("sequence", &intact).is_ok());
        for at in 0..intact.len() {
            let mut damaged = intact.clone();
            damaged[at] ^= 1;
            assert!(decode("sequence", &damaged).is_err(), "byte {at} changed");
            assert!(decode("sequence", &intact[..at]).is_err(), "cut after {at}");
        }
        assert!(decode("sequence", &[&intact[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        let file = test.write("state/sequence", b"egtp-state-1 sequence 8\n1234");
        assert!(matches!(dir.load(), Err(StateError::Damaged(path)) if path == file));
        assert_eq!(fs::read(file).unwrap(), b"egtp-state-1 sequence 8\n1234");
    }

    #[test]
    fn a_file_of_a_newer_version_is_named_and_left_alone() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        let file = test.write("state/sequence", b"egtp-state-2 who knows");
        assert!(matches!(dir.load(), Err(StateError::UnknownVersion(path)) if path == file));
        assert_eq!(fs::read(file).unwrap(), b"egtp-state-2 who knows");
    }

    #[test]
    fn a_file_that_was_given_the_name_of_another_is_damaged() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        test.write("state/sequence", &encode(&file_name(some_record_key()), b"12345678"));
        assert!(matches!(dir.load(), Err(StateError::Damaged(_))));
        fs::remove_file(test.path("state/sequence")).unwrap();
        test.write("state/record-none", b"");
        assert!(matches!(dir.load(), Err(StateError::Damaged(_))));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        fs::create_dir(test.path("state/sequence")).unwrap();
        assert!(matches!(dir.load(), Err(StateError::System(path, _)) if path == test.path("state/sequence")));
    }

    #[test]
    fn a_failed_save_keeps_the_old_value() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        dir.save(StoreKey::Sequence, Some(b"old")).unwrap();
        // A directory in the way of the temporary file makes writing fail, for the superuser as well.
        fs::create_dir(test.path("state").join(TEMPORARY)).unwrap();
        assert!(matches!(dir.save(StoreKey::Sequence, Some(b"new")), Err(StateError::System(..))));
        assert_eq!(read_back(&dir, StoreKey::Sequence).unwrap(), b"old");
    }

    #[test]
    fn other_files_and_what_an_interrupted_save_left_are_ignored() {
        let test = TestDir::new();
        let dir = StateDir::open(&test.path("state")).unwrap();
        test.write(Path::new("state").join(TEMPORARY), b"half");
        test.write("state/notes.txt", b"mine");
        assert!(dir.load().is_ok());
        dir.save(StoreKey::Sequence, Some(b"1")).unwrap();
        assert_eq!(dir.names().unwrap(), [LOCK, "notes.txt", "sequence"]);
    }

    #[test]
    fn every_error_is_one_line_that_names_the_path() {
        let path = PathBuf::from("/some/state");
        for error in [
            StateError::InUse(path.clone()),
            StateError::Damaged(path.clone()),
            StateError::UnknownVersion(path.clone()),
            StateError::System(path.clone(), io::Error::other("why")),
            StateError::TooManyWaiting(path.clone()),
        ] {
            let text = error.to_string();
            assert!(text.contains("/some/state") && !text.contains('\n'), "{text}");
        }
    }
}
