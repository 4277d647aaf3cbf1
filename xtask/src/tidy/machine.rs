//! No trace of the machine that a file was written on.

use std::path::Path;

use crate::exec;
use crate::tree::{Finding, Tree};

/// Where cargo keeps the sources of dependencies: a message that was pasted with its paths.
const CARGO_SOURCES: &str = concat!(".cargo/", "registry/");

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let home = std::env::var("HOME").unwrap_or_default();
    let own = exec::root().to_string_lossy();
    let places: Vec<&str> =
        [own.as_ref(), home.as_str()].into_iter().filter(|p| is_telling(p)).collect();
    find(tree, &places)
}

/// A path of one part, such as `/root`, may be meant in a document as it stands.
fn is_telling(place: &str) -> bool {
    Path::new(place).components().count() > 2
}

fn find(tree: &Tree, places: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.iter() {
        for (index, line) in text.lines().enumerate() {
            if places.iter().any(|place| names(line, place)) || line.contains(CARGO_SOURCES) {
                let what = "names a path of this machine: write it relative to the root";
                findings.push(Finding::new(path, index + 1, what));
            }
        }
    }
    findings
}

/// Whether the line has `place` as a whole path or the beginning of one.
fn names(line: &str, place: &str) -> bool {
    let part_of_path =
        |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_-.".contains(c));
    line.match_indices(place).any(|(at, _)| {
        let after = line[at + place.len()..].chars().next();
        !part_of_path(line[..at].chars().next_back()) && !part_of_path(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_wherever_it_stands() {
        let text = "see /src/mesh/a.rs\n/src/mesh\nx/src/mesh/y /src/meshed\n";
        let tree = Tree::of(&[("a.md", text)]);
        let lines: Vec<usize> = find(&tree, &["/src/mesh"]).into_iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 2]);
        assert!(is_telling("/src/mesh") && !is_telling("/root") && !is_telling(""));
    }
}
