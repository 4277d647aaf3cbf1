//! A file in parsed form, made at the cost of what changed in it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::Place;
use crate::FileContent;
use crate::document::{self, Entry, Outcome};
use crate::yaml::{self, Syntax};

/// A file and what it contains.
#[derive(Debug)]
pub(super) struct ParsedFile {
    name: Arc<Path>,
    content: FileContent,
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    /// Where it is in the text.
    range: Range<usize>,
    documents: Arc<Vec<Vec<Entry>>>,
}

impl ParsedFile {
    /// Parses a file; what is as it was in the previous version is not parsed again.
    pub(super) fn new(name: &Path, content: &FileContent, previous: Option<Self>) -> Self {
        if let Some(previous) = previous {
            if previous.content == *content {
                return previous;
            }
            return Self::parse(name, content, previous.known());
        }
        Self::parse(name, content, HashMap::new())
    }

    pub(super) fn content(&self) -> &FileContent {
        &self.content
    }

    /// Its objects, and the place of each.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Place, &Entry)> {
        let documents = self.segments.iter().flat_map(|segment| segment.documents.iter());
        documents.zip(1..).flat_map(move |(entries, document)| {
            entries.iter().enumerate().map(move |(index, entry)| {
                (Place { file: self.name.clone(), document, entry: index }, entry)
            })
        })
    }

    /// Is it known of every object in it which one it is?
    pub(super) fn is_understood(&self) -> bool {
        let is_readable = matches!(self.content, FileContent::Text(_));
        is_readable && self.segments.iter().all(|segment| is_understood(&segment.documents))
    }

    fn parse(
        name: &Path,
        content: &FileContent,
        known: HashMap<&str, Arc<Vec<Vec<Entry>>>>,
    ) -> Self {
        let syntax = Syntax::of(name);
        let segments = match content {
            FileContent::Unreadable(_) => Vec::new(),
            FileContent::Text(text) => yaml::split(text, syntax)
                .into_iter()
                .map(|segment| {
                    let range = segment.range;
                    let text = &text[range.clone()];
                    let documents = known
                        .get(text)
                        .cloned()
                        .unwrap_or_else(|| Arc::new(documents(text, syntax, segment.lines_before)));
                    Segment { range, documents }
                })
                .collect(),
        };
        Self { name: name.into(), content: content.clone(), segments }
    }

    /// Its segments by their text, without those whose errors name a line of the file.
    fn known(&self) -> HashMap<&str, Arc<Vec<Vec<Entry>>>> {
        let FileContent::Text(text) = &self.content else { return HashMap::new() };
        self.segments
            .iter()
            .filter(|segment| is_understood(&segment.documents))
            .map(|segment| (&text[segment.range.clone()], segment.documents.clone()))
            .collect()
    }
}

fn documents(text: &str, syntax: Syntax, lines_before: usize) -> Vec<Vec<Entry>> {
    yaml::documents(text, syntax, lines_before)
        .into_iter()
        .map(|document| match document {
            Ok(value) => document::entries(value),
            Err(message) => vec![document::broken(message)],
        })
        .collect()
}

fn is_understood(documents: &[Vec<Entry>]) -> bool {
    let mut entries = documents.iter().flatten();
    entries.all(|entry| !matches!(entry.outcome, Outcome::Unidentified))
}
