//! The static Lookup Service: a text file with one contact a line (*EGTP Architecture 0.2*, II.A).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str;

use egtp::{InvalidRecord, NodeId, SignedRecord};

/// A longer file is refused before it fills the memory: some 17,000 of the longest contacts.
const MAX_FILE: u64 = 16 << 20;

/// The contacts of a peers file. Empty lines and lines that begin with `#` say nothing; of several contacts of one node the one with the
/// highest sequence number counts.
#[derive(Clone, Debug, Default)]
pub struct PeersFile {
    records: BTreeMap<NodeId, SignedRecord>,
}

impl PeersFile {
    /// Reads a file of which every line must be good.
    ///
    /// # Errors
    ///
    /// [`PeersFileError`] names the file, and the first bad line.
    pub fn load(path: &Path) -> Result<Self, PeersFileError> {
        let (peers, bad_lines) = Self::load_good_lines(path)?;
        match bad_lines.into_iter().next() {
            None => Ok(peers),
            Some(bad) => Err(PeersFileError::Bad(path.into(), bad)),
        }
    }

    /// Reads the good lines of a file, and says which ones are bad.
    ///
    /// # Errors
    ///
    /// [`PeersFileError`] if it cannot be read at all.
    pub fn load_good_lines(path: &Path) -> Result<(Self, Vec<BadLine>), PeersFileError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
            .map_err(|error| PeersFileError::NotRead(path.into(), error))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
            return Err(PeersFileError::TooLong(path.into()));
        }
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> (Self, Vec<BadLine>) {
        let mut peers = Self::default();
        let mut bad_lines = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            match parse_line(line) {
                Ok(Some(record)) => peers.insert(record),
                Ok(None) => {}
                Err(what) => bad_lines.push(BadLine { number: index + 1, what }),
            }
        }
        (peers, bad_lines)
    }

    /// The record of this node, if the file holds one.
    pub fn lookup(&self, id: &NodeId) -> Option<&SignedRecord> {
        self.records.get(id)
    }

    /// Every record, one a node, in the order of the nodes' ids.
    pub fn records(&self) -> impl Iterator<Item = &SignedRecord> {
        self.records.values()
    }

    fn insert(&mut self, record: SignedRecord) {
        let known = self.records.entry(record.node_id()).or_insert_with(|| record.clone());
        if known.sequence() < record.sequence() {
            *known = record;
        }
    }
}

fn parse_line(line: &[u8]) -> Result<Option<SignedRecord>, WhatIsWrong> {
    let text = str::from_utf8(line).map_err(|_| WhatIsWrong::NotText)?.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    text.parse().map(Some).map_err(WhatIsWrong::NotAContact)
}

/// A line that is no contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadLine {
    /// Which; the first is 1.
    pub number: usize,
    /// What is wrong with it.
    pub what: WhatIsWrong,
}

/// What is wrong with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhatIsWrong {
    /// It is not UTF-8.
    NotText,
    /// It is no contact, or one that is not genuine.
    NotAContact(InvalidRecord),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            WhatIsWrong::NotText => write!(f, "line {}: not text", self.number),
            WhatIsWrong::NotAContact(error) => write!(f, "line {}: {error}", self.number),
        }
    }
}

/// Why a peers file cannot be used. Its text is one line that says what is wrong and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeersFileError {
    /// The system could not read it.
    NotRead(PathBuf, io::Error),
    /// It is longer than 16 MiB.
    TooLong(PathBuf),
    /// A line of it is no contact.
    Bad(PathBuf, BadLine),
}

impl fmt::Display for PeersFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRead(path, error) => {
                write!(
                    f,
                    "the peers file {} cannot be read: {error}: correct this, or name another file",
                    path.display()
                )
            }
            Self::TooLong(path) => {
                let path = path.display();
                write!(f, "the peers file {path} is longer than 16 MiB: is it the right one?")
            }
            Self::Bad(path, bad) => {
                let path = path.display();
                write!(f, "the peers file {path}, {bad}: correct this line, or use the others with --skip-bad-lines")
            }
        }
    }
}

impl std::error::Error for PeersFileError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;
    use egtp::{Identity, Strategies};

    fn record(owner: u8, sequence: u64) -> SignedRecord {
        SignedRecord::sign(&Identity::from_seed(&[owner; 32]), sequence, Strategies::default()).unwrap()
    }

    fn load(text: impl AsRef<[u8]>) -> Result<PeersFile, PeersFileError> {
        let dir = TestDir::new();
        PeersFile::load(&dir.write("peers", text.as_ref()))
    }

    #[test]
    fn every_contact_is_found_by_its_id_and_nobody_else_is() {
        let text = format!("# friends\n\n{}\r\n  {}  \n", record(1, 5), record(2, 6));
        let peers = load(text).unwrap();
        assert_eq!(peers.lookup(&record(1, 5).node_id()), Some(&record(1, 5)));
        assert_eq!(peers.lookup(&record(2, 6).node_id()), Some(&record(2, 6)));
        assert_eq!(peers.lookup(&record(3, 1).node_id()), None);
        assert_eq!(peers.records().count(), 2);
    }

    #[test]
    fn of_several_contacts_of_one_node_the_newest_counts() {
        for order in [[7, 9], [9, 7]] {
            let peers = load(order.map(|sequence| format!("{}\n", record(1, sequence))).concat()).unwrap();
            assert_eq!(peers.lookup(&record(1, 0).node_id()).map(SignedRecord::sequence), Some(9));
        }
    }

    #[test]
    fn an_empty_file_is_a_peers_file() {
        assert_eq!(load("").unwrap().records().count(), 0);
    }

    #[test]
    fn a_bad_line_is_refused_with_its_number_and_reason() {
        let error = load(format!("{}\n# fine\nhello\n", record(1, 1))).unwrap_err();
        let expected = BadLine { number: 3, what: WhatIsWrong::NotAContact(InvalidRecord::NotAContact) };
        assert!(matches!(&error, PeersFileError::Bad(_, bad) if *bad == expected), "{error}");
        assert!(error.to_string().contains("line 3: not a contact"), "{error}");
    }

    #[test]
    fn bad_lines_are_skipped_when_that_is_asked_for() {
        let dir = TestDir::new();
        let mut bytes = format!("hello\n{}\n", record(1, 1)).into_bytes();
        bytes.extend_from_slice(&[0xff, b'\n']);
        let (peers, bad_lines) = PeersFile::load_good_lines(&dir.write("peers", &bytes)).unwrap();
        assert_eq!(peers.records().count(), 1);
        assert_eq!(bad_lines.iter().map(|bad| bad.number).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(bad_lines[1].what, WhatIsWrong::NotText);
    }

    #[test]
    fn a_contact_cut_short_is_refused() {
        let contact = record(1, 1).to_string();
        assert!(matches!(load(&contact[..contact.len() - 9]), Err(PeersFileError::Bad(..))));
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = TestDir::new();
        let path = dir.path("peers");
        assert!(matches!(PeersFile::load(&path), Err(PeersFileError::NotRead(named, _)) if named == path));
    }

    #[test]
    fn a_file_too_long_is_refused_before_it_is_parsed() {
        let dir = TestDir::new();
        let path = dir.path("peers");
        File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(matches!(PeersFile::load(&path), Err(PeersFileError::TooLong(_))));
    }
}
