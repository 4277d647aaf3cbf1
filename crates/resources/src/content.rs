//! What a file contains, and how to tell that it does not contain it any more.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file that changed so recently may change again without its times telling: file systems count in
/// steps of up to two seconds.
const YOUNG_SECONDS: i64 = 3;

/// What a file contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// Text.
    Text(Arc<str>),
    /// Nothing that can be used, and why. For a directory it stands for all files below.
    Unreadable(String),
}

/// What differs when a file was written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

// === impl FileContent ===

impl FileContent {
    /// The content of a file, if it is text of a reasonable size.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Self::Unreadable(format!("larger than {FILE_BYTES_MAX} bytes"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(error) => Self::Unreadable(format!("not UTF-8 text: {}", error.utf8_error())),
        }
    }

    /// Reads a file; `now` may be earlier, but not later. The stamp is older than the content: as
    /// long as the file has it, it has this content.
    pub(crate) fn read(path: &Path, now: SystemTime) -> io::Result<(Self, Option<Stamp>)> {
        let mut bytes = Vec::new();
        let file = fs::File::open(path)?;
        let stamp = Stamp::of(&file.metadata()?, now);
        // One byte more than allowed: a file may grow while it is read.
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok((Self::from_bytes(bytes), stamp))
    }
}

// === impl Stamp ===

impl Stamp {
    /// None for a file that is too young to have one.
    pub(crate) fn of(metadata: &fs::Metadata, now: SystemTime) -> Option<Self> {
        let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
        let newest = metadata.ctime().max(metadata.mtime());
        (newest.saturating_add(YOUNG_SECONDS) < now).then_some(Self {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
