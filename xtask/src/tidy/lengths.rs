//! Lengths by ratchet: nothing newly grows over a limit, and what is over it today only shrinks.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::tidy::functions;
use crate::tree::{Finding, Tree};

const RATCHET: &str = "xtask/ratchet.toml";
const FUNCTION_LINES_MAX: usize = 70;
const RUST_FILE_LINES_MAX: usize = 600;
const C_PROGRAM_LINES_MAX: usize = 300;

/// A length that has a limit.
struct Measure {
    path: String,
    line: usize,
    /// Its name in the ratchet, and in a finding.
    key: String,
    length: usize,
    limit: usize,
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let ratchet = tree.text(RATCHET).unwrap_or_default().parse::<Table>();
    let ratchet = match ratchet {
        Ok(table) => table,
        Err(e) => return vec![Finding::new(RATCHET, 1, format!("does not parse: {e}"))],
    };
    let mut findings = Vec::new();
    let functions = measure_functions(tree, &mut findings);
    findings.extend(compare(&functions, &listed(&ratchet, "functions")));
    findings.extend(compare(&measure_files(tree), &listed(&ratchet, "files")));
    findings
}

fn listed(ratchet: &Table, section: &str) -> BTreeMap<String, usize> {
    let entries = ratchet.get(section).and_then(Value::as_table).into_iter().flatten();
    let number = |value: &Value| value.as_integer().and_then(|n| usize::try_from(n).ok());
    entries.map(|(key, value)| (key.clone(), number(value).unwrap_or(0))).collect()
}

fn measure_functions(tree: &Tree, findings: &mut Vec<Finding>) -> Vec<Measure> {
    let mut measures = Vec::new();
    let mut add = |path: &str, functions: Vec<functions::Function>| {
        measures.extend(functions.into_iter().map(|function| Measure {
            path: path.to_owned(),
            line: function.line,
            key: format!("{path} {}", function.name),
            length: function.length,
            limit: FUNCTION_LINES_MAX,
        }));
    };
    for (path, text) in tree.ending(".rs") {
        match functions::rust(text) {
            Ok(functions) => add(path, functions),
            Err(e) => findings.push(Finding::new(path, 1, e)),
        }
    }
    for (path, text) in tree.ending(".c").chain(tree.ending(".h")) {
        add(path, functions::c(text));
    }
    measures
}

fn measure_files(tree: &Tree) -> Vec<Measure> {
    let limit = |path: &str| match path {
        path if path.ends_with(".rs") => Some(RUST_FILE_LINES_MAX),
        path if path.starts_with("bpf/progs/") && path.ends_with(".c") => Some(C_PROGRAM_LINES_MAX),
        _ => None,
    };
    let measure = |(path, text): (&str, &str)| {
        let (key, length) = (path.to_owned(), text.lines().count());
        Some(Measure { path: path.to_owned(), line: 1, key, length, limit: limit(path)? })
    };
    tree.iter().filter_map(measure).collect()
}

fn compare(measures: &[Measure], listed: &BTreeMap<String, usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for measure in measures {
        let Measure { path, line, key, length, limit } = measure;
        let what = match listed.get(key) {
            None if length > limit => {
                format!("{key} has {length} lines, at most {limit}: split it")
            }
            Some(_) if length <= limit => {
                format!("{key} is within the limit again: remove it from {RATCHET}")
            }
            Some(known) if length > known => {
                format!("{key} grew from {known} to {length} lines: it may only shrink, split it")
            }
            Some(known) if length < known => format!("{key} shrank: write {length} in {RATCHET}"),
            _ => continue,
        };
        findings.push(Finding::new(path, *line, what));
    }
    for key in listed.keys().filter(|key| !measures.iter().any(|m| m.key == **key)) {
        findings.push(Finding::new(RATCHET, 1, format!("{key} is gone: remove it")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(length: usize, ratchet: &str) -> Vec<String> {
        let body = "    a();\n".repeat(length);
        let rust = format!("//! x\nfn long() {{\n{body}}}\n");
        let tree = Tree::of(&[("a.rs", &rust), (RATCHET, ratchet)]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_long_function_is_named_until_it_is_listed() {
        assert_eq!(found(70, ""), Vec::<String>::new());
        assert_eq!(found(71, ""), ["a.rs:2: a.rs long has 71 lines, at most 70: split it"]);
        assert_eq!(found(71, "[functions]\n\"a.rs long\" = 71\n"), Vec::<String>::new());
    }

    #[test]
    fn the_ratchet_only_turns_one_way() {
        let listed = "[functions]\n\"a.rs long\" = 80\n";
        assert!(found(81, listed)[0].contains("grew from 80 to 81"));
        assert!(found(75, listed)[0].contains("shrank: write 75"));
        assert!(found(70, listed)[0].contains("remove it from"));
        assert!(found(1, "[files]\n\"b.rs\" = 700\n")[0].contains("b.rs is gone"));
    }

    #[test]
    fn files_and_c_functions_have_limits_too() {
        let c = format!("int f(void)\n{{\n{}}}\n", "\tg();\n".repeat(300));
        let rust = "// x\n".repeat(601);
        let tree = Tree::of(&[("bpf/progs/a.bpf.c", &c), ("bpf/tests/b.c", &c), ("c.rs", &rust)]);
        let keys: Vec<_> = check(&tree).into_iter().map(|f| f.what).collect();
        assert_eq!(keys.len(), 4, "{keys:?}");
        assert!(keys.iter().any(|what| what.starts_with("c.rs has 601 lines")));
    }
}
