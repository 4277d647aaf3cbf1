//! Documents name files that exist: paths in backticks, and the targets of links.

use crate::tree::{Finding, Tree};

/// Folders at the root: what begins with one of them is meant as a path of this tree.
const TOP: [&str; 8] = ["crates", "bins", "bpf", "docs", "tests", "benches", "xtask", "examples"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md").filter(|(path, _)| is_document(path)) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in prose(text) {
            for named in backticks(line).filter_map(tree_path) {
                if !exists(tree, named) {
                    findings.push(Finding::new(
                        path,
                        number,
                        format!("`{named}` does not exist: correct the path"),
                    ));
                }
            }
            for target in links(line) {
                if resolve(folder, target).is_none_or(|target| !tree.has(&target)) {
                    findings.push(Finding::new(
                        path,
                        number,
                        format!("the link to {target} leads nowhere"),
                    ));
                }
            }
        }
    }
    findings
}

fn is_document(path: &str) -> bool {
    path.starts_with("docs/") || ["README.md", "ARCHITECTURE.md", "STYLE.md"].contains(&path)
}

/// Numbered lines outside of fenced code.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// What stands between backticks.
pub(crate) fn backticks(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The path that the code names, when it is one of this tree, without `:line`.
fn tree_path(code: &str) -> Option<&str> {
    let (top, rest) = code.split_once('/')?;
    let plain = !code.contains(char::is_whitespace) && !rest.contains(['{', '<']);
    (TOP.contains(&top) && plain).then(|| code.split_once(':').map_or(code, |(path, _)| path))
}

/// A path with `*` exists when the folder before the first `*` does.
fn exists(tree: &Tree, path: &str) -> bool {
    match path.split_once('*') {
        Some((before, _)) => before.rsplit_once('/').is_some_and(|(folder, _)| tree.has(folder)),
        None => tree.has(path),
    }
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let files = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    files.filter(|target| !target.is_empty() && !target.contains(':'))
}

/// `target` as seen from `folder`; `None` when it leaves the tree.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let tree = Tree::of(&[(path, text), ("crates/a/src/lib.rs", ""), ("docs/b.md", "")]);
        check(&tree).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn paths_that_exist_and_words_that_are_no_paths_pass() {
        let text = "`crates/a` `crates/a/` `crates/a/src/lib.rs:12` `crates/*/src` `cargo test`\n\
                    `crates/<name>/x` `/sys/fs/bpf` `docs/b.md`\n```\n`crates/gone`\n```\n\
                    [b](docs/b.md#part) [c](https://example.com/x) [d](#here)\n";
        assert_eq!(lines("README.md", text), Vec::<usize>::new());
    }

    #[test]
    fn what_does_not_exist_is_named() {
        assert_eq!(lines("README.md", "x\n`crates/gone`\n`bpf/progs/*.c`\n[b](b.md)\n"), [2, 3, 4]);
        assert_eq!(lines("docs/c.md", "[b](b.md)\n[a](../crates/a)\n[no](../../b.md)\n"), [3]);
        assert_eq!(lines("notes/c.md", "`crates/gone`\n"), Vec::<usize>::new());
    }
}
