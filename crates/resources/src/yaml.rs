//! YAML text into documents. Each document is parsed for itself, so that a syntax error in one costs
//! the others nothing.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_yaml_ng::Value;

/// A piece of a file that can be parsed for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it is in the text.
    pub(crate) range: Range<usize>,
    /// How many lines are before it.
    pub(crate) lines_before: usize,
}

/// How the text of a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Yaml,
    Json,
}

// === impl Syntax ===

impl Syntax {
    pub(crate) fn of(file: &Path) -> Self {
        match file.extension() {
            Some(extension) if extension == "json" => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// Cuts the text at its document markers; pieces without content are left out.
pub(crate) fn split(text: &str, syntax: Syntax) -> Vec<Segment> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    if syntax == Syntax::Json {
        return vec![Segment { range: start..text.len(), lines_before: 0 }];
    }
    let mut segments = Vec::new();
    let mut current = Segment { range: start..start, lines_before: 0 };
    for (line_index, line) in text[start..].split_inclusive('\n').enumerate() {
        let is_cut = is_marker(line) && !is_preamble(&text[current.range.clone()]);
        if is_cut {
            let end = current.range.end;
            let next = Segment { range: end..end, lines_before: line_index };
            segments.push(std::mem::replace(&mut current, next));
        }
        current.range.end += line.len();
    }
    segments.push(current);
    segments.retain(|segment| has_content(&text[segment.range.clone()]));
    segments
}

/// The documents of a segment: normally one.
pub(crate) fn documents(
    text: &str,
    syntax: Syntax,
    lines_before: usize,
) -> Vec<Result<Value, String>> {
    match syntax {
        Syntax::Json => until_error(
            serde_json::Deserializer::from_str(text)
                .into_iter::<Value>()
                .map(|value| value.map(normal).map_err(|error| error.to_string())),
        ),
        Syntax::Yaml => {
            let has_merges = text.contains("<<");
            until_error(serde_yaml_ng::Deserializer::from_str(text).map(|document| {
                yaml_value(document, has_merges).map_err(|error| moved(&error, lines_before))
            }))
        }
    }
}

/// The values up to the first error. What the parsers yield after one is not to be looked at: it is
/// the same error for ever, or a panic.
fn until_error(values: impl Iterator<Item = Result<Value, String>>) -> Vec<Result<Value, String>> {
    let mut documents = Vec::new();
    for value in values {
        let is_error = value.is_err();
        if !matches!(value, Ok(Value::Null)) {
            documents.push(value);
        }
        if is_error {
            break;
        }
    }
    documents
}

fn yaml_value(
    document: serde_yaml_ng::Deserializer<'_>,
    has_merges: bool,
) -> Result<Value, serde_yaml_ng::Error> {
    let mut value = Value::deserialize(document)?;
    if has_merges {
        value.apply_merge()?;
    }
    Ok(normal(value))
}

/// The value as the Kubernetes API server would take it: a field that is null is a field that is
/// absent, and tags mean nothing.
fn normal(mut value: Value) -> Value {
    normalise(&mut value);
    value
}

/// In place: nearly always there is nothing to do.
fn normalise(value: &mut Value) {
    match value {
        Value::Mapping(mapping) => {
            if mapping.values().any(Value::is_null) {
                mapping.retain(|_, value| !value.is_null());
            }
            mapping.values_mut().for_each(normalise);
        }
        Value::Sequence(items) => items.iter_mut().for_each(normalise),
        Value::Tagged(tagged) => {
            *value = std::mem::take(&mut tagged.value);
            normalise(value);
        }
        _ => {}
    }
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Only directives and comments, which belong to the document that follows.
fn is_preamble(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !is_blank(line)).peekable();
    lines.peek().is_some() && lines.all(|line| line.starts_with('%'))
}

fn has_content(text: &str) -> bool {
    text.lines().any(|line| {
        let line = if is_marker(line) { &line[3..] } else { line };
        !is_blank(line) && line.trim_end() != "..."
    })
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// The text of an error, with the line numbers of the file instead of those of the segment.
fn moved(error: &serde_yaml_ng::Error, lines_before: usize) -> String {
    const MARK: &str = " line ";
    let text = error.to_string();
    let mut pieces = text.split(MARK);
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        result.push_str(MARK);
        match piece[..digits].parse::<usize>() {
            Ok(line) => result.push_str(&line.saturating_add(lines_before).to_string()),
            Err(_) => result.push_str(&piece[..digits]),
        }
        result.push_str(&piece[digits..]);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<Result<Value, String>> {
        split(text, Syntax::Yaml)
            .into_iter()
            .flat_map(|segment| documents(&text[segment.range], Syntax::Yaml, segment.lines_before))
            .collect()
    }

    fn numbers(text: &str) -> Vec<u64> {
        parse(text).into_iter().map(|value| value.unwrap()["a"].as_u64().unwrap()).collect()
    }

    #[test]
    fn documents_are_cut_at_markers() {
        for (text, expected) in [
            ("", vec![]),
            ("# nothing\n---\n# nothing\n", vec![]),
            ("a: 1", vec![1]),
            ("\u{feff}a: 1", vec![1]),
            ("---\na: 1\n---\na: 2\n", vec![1, 2]),
            ("# first\n---\na: 1\n--- # second\r\na: 2\r\n---\n", vec![1, 2]),
            ("--- {a: 1}\n--- {a: 2}\n", vec![1, 2]),
            ("%YAML 1.1\n---\na: 1\n...\n---\na: 2", vec![1, 2]),
            ("a: 1\nb: |\n  ---\n---\na: 2", vec![1, 2]),
            ("null\n---\na: 1", vec![1]),
        ] {
            assert_eq!(numbers(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_error_stays_in_its_document_and_names_the_line_of_the_file() {
        let values = parse("a: 1\n---\nb: [\n---\na: 3\n");
        assert_eq!(values.len(), 3);
        assert!(values[0].is_ok() && values[2].is_ok());
        let message = values[1].clone().unwrap_err();
        assert!(message.contains("line 3") || message.contains("line 4"), "{message}");
    }

    #[test]
    fn an_unknown_anchor_is_an_error() {
        assert!(parse("a: {b: *nowhere}\nc: 1")[0].is_err());
    }

    #[test]
    fn a_field_twice_is_an_error() {
        assert!(parse("a: 1\na: 2")[0].is_err());
    }

    #[test]
    fn null_is_absent_and_tags_and_merges_are_resolved() {
        let values = parse("x: &x {b: 1}\ny: {<<: *x, c: ~, d: !tag 2}");
        let expected: Value = serde_yaml_ng::from_str("{x: {b: 1}, y: {b: 1, d: 2}}").unwrap();
        assert_eq!(values, [Ok(expected)]);
    }

    #[test]
    fn json_has_its_own_escapes() {
        let text = r#"{"a": "\ud83d\ude00\/"} {"b": null}"#;
        let values = documents(text, Syntax::Json, 0);
        assert_eq!(values[0].as_ref().unwrap()["a"], "\u{1f600}/");
        assert!(documents("{", Syntax::Json, 0)[0].is_err());
    }
}
