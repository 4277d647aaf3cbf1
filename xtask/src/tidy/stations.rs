//! The stations of a connection's life are functions that exist: `` `path` `function` `` in the document.

use crate::tidy::{functions, paths};
use crate::tree::{Finding, Tree};

const DOCUMENT: &str = "docs/life-of-a-connection.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(DOCUMENT) else {
        return vec![Finding::new(DOCUMENT, 1, "is missing: the stations of a connection")];
    };
    let stations: Vec<_> = paths::prose(text)
        .flat_map(|(number, line)| pairs(line).into_iter().map(move |pair| (number, pair)))
        .collect();
    if stations.is_empty() {
        return vec![Finding::new(DOCUMENT, 1, "has no station: write `path` `function`")];
    }
    let wrong = stations.into_iter().filter(|(_, (path, function))| !has(tree, path, function));
    wrong
        .map(|(number, (path, function))| {
            let what =
                format!("`{path}` has no function `{function}`: tell the story as the code goes");
            Finding::new(DOCUMENT, number, what)
        })
        .collect()
}

/// A source file in backticks followed by a name in backticks, with nothing but a space between.
fn pairs(line: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = line.split('`').collect();
    let code = |index: usize| (index % 2 == 1).then(|| parts.get(index).copied()).flatten();
    let is_source = |path: &str| [".rs", ".c", ".h"].iter().any(|ending| path.ends_with(ending));
    let pair = |index: usize| {
        let (path, between) = (code(index)?, parts.get(index + 1)?);
        let function = code(index + 2)?.trim_end_matches("()");
        // The last part is never code: a backtick that nothing closes.
        let closed = index + 3 < parts.len();
        let follows = !between.is_empty() && between.trim().is_empty();
        (closed && follows && is_source(path) && !is_source(function)).then_some((path, function))
    };
    (0..parts.len()).filter_map(pair).collect()
}

fn has(tree: &Tree, path: &str, function: &str) -> bool {
    let Some(text) = tree.text(path) else { return false };
    if !path.ends_with(".rs") {
        return functions::c(text).iter().any(|found| found.name == function);
    }
    let found = functions::rust(text).unwrap_or_default();
    let last = |name: &str| name.rsplit("::").next().unwrap_or_default().to_owned();
    let named = |name: &str| name == function || last(name) == function;
    // A function that a macro makes is seen by its text only.
    found.iter().any(|f| named(&f.name)) || text.contains(&format!("fn {}(", last(function)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str) -> Vec<String> {
        let tree = Tree::of(&[
            (DOCUMENT, document),
            ("crates/a/src/b.rs", "impl T {\n fn one() {}\n}\nfn two() {}\n"),
            ("bpf/progs/c.bpf.c", "int three(void)\n{\n}\n"),
        ]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn stations_that_exist_pass() {
        let document = "1. `crates/a/src/b.rs` `T::one` then `crates/a/src/b.rs` `two()`: x\n\
                        2. `bpf/progs/c.bpf.c` `three` and `bpf/progs/c.bpf.c`, `anything`\n";
        assert_eq!(found(document), Vec::<String>::new());
    }

    #[test]
    fn stations_that_do_not_are_named() {
        let document =
            "`crates/a/src/b.rs` `gone`\n`crates/a/src/x.rs` `one`\n`bpf/progs/c.bpf.c` `thre`\n";
        let found_here = found(document);
        assert_eq!(found_here.len(), 3, "{found_here:?}");
        assert!(found_here[0].starts_with("docs/life-of-a-connection.md:1: "));
        assert!(found("no stations\n")[0].contains("has no station"));
    }
}
