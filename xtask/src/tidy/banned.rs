//! What has no place in the tree: waiting by sleeping, tests that do not run, work left for later.

use crate::tidy::tokens::{self, Token};
use crate::tree::{Finding, Tree};

/// The one crate that may sleep for a test: `wait_until` is in it.
const MAY_SLEEP: &str = "crates/testkit/";
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// Words of work left for later, put together here so that this file does not find itself.
const WORDS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let seen = tokens::visit(text, is_test_file(path), |token| {
            if let Some(what) = banned(path, token) {
                findings.push(Finding::new(path, token.line(), what));
            }
        });
        if let Err(e) = seen {
            findings.push(Finding::new(path, 1, e));
        }
    }
    for (path, text) in tree.iter() {
        for (index, line) in text.lines().enumerate() {
            for word in WORDS.iter().filter(|word| has_word(line, word)) {
                let what = format!("{word}: do it, or open an issue and say what holds until then");
                findings.push(Finding::new(path, index + 1, what));
            }
        }
    }
    findings
}

fn banned(path: &str, token: &Token) -> Option<String> {
    if token.in_test && token.is_call("sleep") && !path.starts_with(MAY_SLEEP) {
        return Some("a test must not sleep: use testkit::wait_until".to_owned());
    }
    if token.attribute().is_some_and(|text| text == "ignore" || text.starts_with("ignore=")) {
        return Some(
            "a test that does not run proves nothing: make it run, or remove it".to_owned(),
        );
    }
    let name = MACROS.iter().find(|name| token.is_macro(name))?;
    Some(format!("{name}! has no place in finished code"))
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !part_of_word(before) && !part_of_word(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn tests_do_not_sleep_but_products_and_the_testkit_may() {
        let text = "fn wait() { sleep(x) }\n#[cfg(test)]\nmod tests {\n fn f() { std::thread::sleep(x); }\n}\n\
                    fn again() { sleep(x) }\n#[test]\nfn t() { select! { _ = tokio::time::sleep(x) => {} } }\n";
        assert_eq!(lines("crates/a/src/lib.rs", text), [4, 8]);
        assert_eq!(lines("crates/testkit/src/wait.rs", text), Vec::<usize>::new());
        assert_eq!(lines("tests/tests/scene.rs", text), [1, 4, 6, 8]);
        assert_eq!(
            lines("crates/a/src/tests.rs", "fn f() { command(\"sleep\") }"),
            Vec::<usize>::new()
        );
    }

    #[test]
    fn a_module_in_a_file_of_its_own_does_not_make_what_follows_a_test() {
        assert_eq!(
            lines("a.rs", "#[cfg(test)]\nmod tests;\nfn f() { sleep(x) }\n"),
            Vec::<usize>::new()
        );
    }

    #[test]
    fn ignored_tests_and_unfinished_code_are_named() {
        let text = "#[ignore]\nfn a() { todo!() }\n#[ignore = \"later\"]\nfn b() { dbg!(1); }\n// todo!()\n";
        assert_eq!(lines("a.rs", text), [1, 2, 3, 4]);
        let words = WORDS.map(|word| format!("one {word}: two\n")).concat();
        assert_eq!(lines("a.md", &words), [1, 2]);
        assert_eq!(lines("a.sh", "mktemp XXXXXX\n"), Vec::<usize>::new());
    }
}
