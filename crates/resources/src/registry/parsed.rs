//! A file in parsed form, made at the cost of what changed in it. The text itself is not kept.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::Place;
use crate::FileContent;
use crate::document::{self, Entry, Outcome};
use crate::intern::Interner;
use crate::yaml::{self, Syntax};

/// Tells texts apart without keeping them: equal texts have equal marks, and others do not, short of
/// a chance of 2^-64, which nobody who writes a file can better.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marker(RandomState);

/// The mark of a text, and its length.
type Mark = (u64, usize);

/// A file and what it contains.
#[derive(Debug)]
pub(super) struct ParsedFile {
    name: Arc<Path>,
    content: Content,
    segments: Vec<Segment>,
}

/// What there is to know about the text.
#[derive(Debug)]
enum Content {
    Text(Mark),
    /// There is none, and why.
    Unreadable(String),
}

#[derive(Clone, Debug)]
struct Segment {
    mark: Mark,
    /// How many documents it has.
    documents: u32,
    entries: Arc<[Entry]>,
}

// === impl Marker ===

impl Marker {
    fn mark(&self, text: &str) -> Mark {
        (self.0.hash_one(text), text.len())
    }
}

// === impl ParsedFile ===

impl ParsedFile {
    /// Parses a file; what is as it was in the previous version is not parsed again.
    pub(super) fn new(
        marker: &Marker,
        name: &Path,
        content: &FileContent,
        previous: Option<&Self>,
    ) -> Self {
        let (content, segments) = match content {
            FileContent::Unreadable(message) => (Content::Unreadable(message.clone()), Vec::new()),
            FileContent::Text(text) => {
                let known = previous.map(Self::known).unwrap_or_default();
                let segments = segments(marker, text, Syntax::of(name), &known);
                (Content::Text(marker.mark(text)), segments)
            }
        };
        let name = previous.map_or_else(|| name.into(), |previous| previous.name.clone());
        Self { name, content, segments }
    }

    /// Replaces parts of objects that nobody has seen yet by equal ones.
    pub(super) fn intern(&mut self, interner: &mut Interner) {
        for segment in &mut self.segments {
            // What an earlier version had in common with this one is done.
            let Some(entries) = Arc::get_mut(&mut segment.entries) else { continue };
            for entry in entries {
                if let Outcome::Accepted(_, object) = &mut entry.outcome {
                    interner.intern(object);
                }
            }
        }
    }

    pub(super) fn name(&self) -> &Arc<Path> {
        &self.name
    }

    pub(super) fn has(&self, marker: &Marker, content: &FileContent) -> bool {
        match (&self.content, content) {
            (Content::Text(mark), FileContent::Text(text)) => *mark == marker.mark(text),
            (Content::Unreadable(old), FileContent::Unreadable(new)) => old == new,
            _ => false,
        }
    }

    /// Why it can't be read, if it can't.
    pub(super) fn unreadable(&self) -> Option<&str> {
        match &self.content {
            Content::Text(_) => None,
            Content::Unreadable(message) => Some(message),
        }
    }

    /// Its objects, and the place of each.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Place, &Entry)> {
        let mut documents_before = 0;
        let segments = self.segments.iter().map(move |segment| {
            let first = documents_before + 1;
            documents_before += segment.documents;
            (first, segment)
        });
        segments.flat_map(move |(first, segment)| {
            segment.entries.iter().map(move |entry| {
                let document = first + entry.document;
                (Place { file: self.name.clone(), document, entry: entry.index }, entry)
            })
        })
    }

    /// Is it known of every object in it which one it is?
    pub(super) fn is_understood(&self) -> bool {
        self.unreadable().is_none() && self.segments.iter().all(Segment::is_understood)
    }

    /// Is there nothing to say about it?
    pub(super) fn is_silent(&self) -> bool {
        let mut entries = self.segments.iter().flat_map(|segment| segment.entries.iter());
        self.unreadable().is_none() && entries.all(|entry| entry.findings.is_empty())
    }

    /// Its segments by their mark, without those whose errors name a line of the file.
    fn known(&self) -> HashMap<Mark, &Segment> {
        let segments = self.segments.iter().filter(|segment| segment.is_understood());
        segments.map(|segment| (segment.mark, segment)).collect()
    }
}

// === impl Segment ===

impl Segment {
    fn is_understood(&self) -> bool {
        self.entries.iter().all(|entry| !matches!(entry.outcome, Outcome::Unidentified))
    }
}

fn segments(
    marker: &Marker,
    text: &str,
    syntax: Syntax,
    known: &HashMap<Mark, &Segment>,
) -> Vec<Segment> {
    let segments = yaml::split(text, syntax).into_iter().map(|segment| {
        let text = &text[segment.range];
        let mark = marker.mark(text);
        if let Some(known) = known.get(&mark) {
            return (*known).clone();
        }
        let documents = yaml::documents(text, syntax, segment.lines_before);
        let mut entries = Vec::with_capacity(documents.len());
        let mut count = 0;
        for document in documents {
            entries.extend(document::entries(count, document));
            count += 1;
        }
        Segment { mark, documents: count, entries: entries.into() }
    });
    segments.collect()
}
