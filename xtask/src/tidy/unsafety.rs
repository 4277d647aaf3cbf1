//! Unsafe code lives in one crate; every other crate forbids it, and the compiler holds it to that.

use crate::tidy::tokens;
use crate::tree::{Finding, Tree};

const HOME: &str = "crates/datapath/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs").filter(|(path, _)| !path.starts_with(HOME)) {
        let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
        if is_root && !text.lines().any(|line| line == "#![forbid(unsafe_code)]") {
            findings.push(Finding::new(path, 1, "add #![forbid(unsafe_code)] below the header"));
        }
        let seen = tokens::visit(text, false, |token| {
            if token.is_ident("unsafe") {
                let what = "unsafe code belongs in crates/datapath, behind a safe function";
                findings.push(Finding::new(path, token.line(), what));
            }
        });
        if let Err(e) = seen {
            findings.push(Finding::new(path, 1, e));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_datapath_may() {
        let tree = Tree::of(&[
            ("crates/datapath/src/lib.rs", "fn f() { unsafe { g() } }"),
            ("crates/a/src/lib.rs", "//! unsafe in words\n#![forbid(unsafe_code)]\n"),
            ("crates/b/src/lib.rs", "//! b\n"),
            ("crates/b/src/c.rs", "//! c\n\nfn f() { unsafe { g() } }"),
            ("bins/d/src/main.rs", "fn main() {}"),
        ]);
        let found: Vec<_> = check(&tree).into_iter().map(|f| (f.path, f.line)).collect();
        let expected =
            [("bins/d/src/main.rs", 1), ("crates/b/src/c.rs", 3), ("crates/b/src/lib.rs", 1)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
