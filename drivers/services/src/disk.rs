//! Files that are there whole, durably, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Creates a file that only its owner can read, with these bytes, durably. Never touches a file that is there already; takes its own
/// half-written file away again if writing fails.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_with(path, |file| file.write_all(bytes))
}

/// Replaces a file or creates it: at every moment, a loss of power included, the old or the new bytes are there whole.
pub(crate) fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create_with(temporary, |file| file.write_all(bytes))?;
    fs::rename(temporary, path)?;
    sync_directory_of(path)
}

/// Removes a file, durably. It is no error if there is none.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn create_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| sync_directory_of(path));
    if written.is_err() {
        // The first error is the one to report; if this fails as well, the next start finds a damaged file and says so.
        let _ = fs::remove_file(path);
    }
    written
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;

    fn fill_the_disk(file: &mut File) -> io::Result<()> {
        file.write_all(b"ha")?;
        Err(io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn a_file_that_could_not_be_written_whole_is_taken_away() {
        let dir = TestDir::new();
        let path = dir.path("file");
        assert_eq!(create_with(&path, fill_the_disk).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_there_is_not_touched_by_create() {
        let dir = TestDir::new();
        let path = dir.write("file", b"old");
        assert_eq!(create(&path, b"new").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(path).unwrap(), b"old");
    }

    #[test]
    fn a_file_that_cannot_be_replaced_keeps_its_bytes() {
        let dir = TestDir::new();
        let path = dir.write("file", b"old");
        assert!(replace(&path, &dir.path("no such directory/file"), b"new").is_err());
        assert_eq!(fs::read(path).unwrap(), b"old");
    }

    #[test]
    fn replace_leaves_the_new_bytes_and_nothing_else() {
        let dir = TestDir::new();
        let path = dir.write("file", b"old");
        let temporary = dir.write("temporary", b"left over");
        replace(&path, &temporary, b"new").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"new");
        assert!(!temporary.exists());
    }
}
