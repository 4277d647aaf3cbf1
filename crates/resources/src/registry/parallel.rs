//! Parsing many files on all processors: at the start, everything is new.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::parsed::{Marker, ParsedFile};
use crate::FileContent;

/// With fewer files than this, other threads cost more than they save.
const FILES_MIN: usize = 64;
/// How many files a thread takes at a time.
const CHUNK_FILES: usize = 16;

/// The files in parsed form, in the same order; none for one that is not there any more.
pub(super) fn parse(
    marker: &Marker,
    before: &BTreeMap<Arc<Path>, ParsedFile>,
    files: &[(&PathBuf, &Option<FileContent>)],
) -> Vec<Option<ParsedFile>> {
    let parse_one = |(name, content): &(&PathBuf, &Option<FileContent>)| {
        let content = content.as_ref()?;
        Some(ParsedFile::new(marker, name, content, before.get(name.as_path())))
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    if files.len() < FILES_MIN || threads == 1 {
        return files.iter().map(parse_one).collect();
    }
    let chunks: Vec<_> = files.chunks(CHUNK_FILES).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(index) else { return done };
            done.push((index, chunk.iter().map(parse_one).collect::<Vec<_>>()));
        }
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().flat_map(|(_, files)| files).collect()
}
