//! Every source file opens with what it is for; a kernel program also with what it may do.

use crate::tree::{Finding, Tree};

/// What the header of a kernel program answers.
const PROGRAM_WORDS: [&str; 5] = ["Hook:", "Reads:", "Writes:", "Verdict:", "On internal error:"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let says = text.lines().next().and_then(|line| line.strip_prefix("//!"));
        if says.is_none_or(|says| says.trim().is_empty()) {
            findings.push(Finding::new(path, 1, "open the file with `//!` and what it is for"));
        }
    }
    for (path, text) in tree.ending(".c").chain(tree.ending(".h")) {
        findings.extend(c_header(path, text));
    }
    findings
}

fn c_header(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if !first.contains("SPDX-License-Identifier:") {
        findings.push(Finding::new(
            path,
            1,
            "name the licence in the first line (SPDX-License-Identifier:)",
        ));
    }
    let comment = rest.strip_prefix("/*").and_then(|rest| rest.split_once("*/"));
    let Some((comment, _)) = comment else {
        findings.push(Finding::new(
            path,
            2,
            "say in a comment block below the licence what it is for",
        ));
        return findings;
    };
    if path.starts_with("bpf/progs/") && path.ends_with(".c") {
        for word in PROGRAM_WORDS.iter().filter(|word| !comment.contains(**word)) {
            findings.push(Finding::new(path, 2, format!("the program's header has no `{word}`")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_headers_pass() {
        let program = "// SPDX-License-Identifier: GPL-2.0\n/*\n * Hook: x\n * Reads: x\n * Writes: x\n \
                       * Verdict: x\n * On internal error: x\n */\n";
        let tree = Tree::of(&[
            ("a.rs", "//! For it.\n"),
            ("bpf/include/a.h", "/* SPDX-License-Identifier: GPL-2.0 */\n/* For it. */\n"),
            ("bpf/progs/a.bpf.c", program),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn what_is_missing_is_named() {
        let tree = Tree::of(&[
            ("a.rs", "use x;\n"),
            ("b.rs", "//!\n"),
            ("bpf/include/a.h", "#pragma once\n"),
            (
                "bpf/progs/a.bpf.c",
                "// SPDX-License-Identifier: x\n/* Hook: a Reads: b Writes: c */\n",
            ),
        ]);
        let found = check(&tree);
        let places: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        let program = ("bpf/progs/a.bpf.c", 2);
        let header = "bpf/include/a.h";
        assert_eq!(places, [("a.rs", 1), ("b.rs", 1), program, program, (header, 1), (header, 2)]);
        assert!(found[2].what.contains("Verdict:"), "{found:?}");
    }
}
