//! Which crate may see which, and one table of versions for all.

use toml::{Table, Value};

use crate::tree::{Finding, Tree};

const DOCUMENT: &str = "docs/dependencies.md";

/// What each of our packages may depend on. Dev-dependencies are free: a test may use anything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("abi", &[]),
    ("model", &[]),
    ("authz", &["abi", "model"]),
    ("balance", &["model"]),
    ("plan", &["abi", "balance", "model"]),
    ("cni", &[]),
    ("datapath", &["abi"]),
    ("enrolment", &[]),
    ("runtime", &[]),
    ("resources", &["model"]),
    ("dns", &["model", "runtime"]),
    ("xds", &["model", "runtime"]),
    ("testkit", &[]),
    ("cluster", &["testkit"]),
    (
        "kmesh-daemon",
        &[
            "abi",
            "authz",
            "balance",
            "cni",
            "datapath",
            "dns",
            "enrolment",
            "model",
            "plan",
            "resources",
            "runtime",
            "xds",
        ],
    ),
    ("kmesh-cni", &["cni"]),
    ("kmesh-control", &["resources", "runtime", "xds"]),
    ("kmeshctl", &["abi", "runtime"]),
    ("fuzz", &["authz", "model", "resources", "xds"]),
    ("scenes", &["testkit"]),
    ("e2e", &["cluster", "testkit"]),
    ("benches", &["abi", "datapath", "testkit"]),
    ("xtask", &["testkit"]),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending("Cargo.toml") {
        match text.parse::<Table>() {
            Ok(manifest) if path == "Cargo.toml" => findings.extend(document(tree, &manifest)),
            Ok(manifest) => findings.extend(member(path, text, &manifest)),
            Err(e) => findings.push(Finding::new(path, 1, format!("does not parse: {e}"))),
        }
    }
    findings
}

fn member(path: &str, text: &str, manifest: &Table) -> Vec<Finding> {
    let name = manifest.get("package").and_then(|package| package.get("name"));
    let Some(name) = name.and_then(Value::as_str) else {
        return vec![Finding::new(path, 1, "has no package name")];
    };
    let Some((_, allowed)) = ALLOWED.iter().find(|(package, _)| *package == name) else {
        let what =
            format!("{name} is not in the table of xtask/src/tidy/edges.rs: add what it may see");
        return vec![Finding::new(path, 1, what)];
    };
    let mut findings = Vec::new();
    for (kind, dependency, value) in dependencies(manifest) {
        let line = line_of(text, dependency);
        if value.get("workspace").and_then(Value::as_bool) != Some(true) {
            let what = format!("{dependency}: take the version from the root (`workspace = true`)");
            findings.push(Finding::new(path, line, what));
        }
        let ours = ALLOWED.iter().any(|(package, _)| *package == dependency);
        if ours && kind != "dev-dependencies" && !allowed.contains(&dependency) {
            let what = format!(
                "{name} must not see {dependency}: move the code, or change the design first"
            );
            findings.push(Finding::new(path, line, what));
        }
    }
    findings
}

/// (kind, name, value) of every dependency, also those of one target only.
fn dependencies(manifest: &Table) -> Vec<(&'static str, &str, &Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = std::iter::once(manifest).chain(targets.filter_map(|(_, v)| v.as_table()));
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let entries = table.get(kind).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, value)| (kind, name.as_str(), value)));
        }
    }
    found
}

fn line_of(text: &str, dependency: &str) -> usize {
    let starts = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=', ']']))
    };
    text.lines().position(starts).map_or(1, |index| index + 1)
}

/// The document gives a reason for each dependency from outside, and for nothing else.
fn document(tree: &Tree, root: &Table) -> Vec<Finding> {
    let table = root.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let entries = table.and_then(Value::as_table).into_iter().flatten();
    let outside: Vec<&str> =
        entries.filter(|(_, v)| v.get("path").is_none()).map(|(name, _)| name.as_str()).collect();
    let Some(text) = tree.text(DOCUMENT) else {
        return vec![Finding::new(DOCUMENT, 1, "is missing: a line of reason for each dependency")];
    };
    let mut findings = Vec::new();
    for name in outside.iter().filter(|name| !text.contains(&format!("`{name}`"))) {
        findings.push(Finding::new(
            DOCUMENT,
            1,
            format!("give `{name}` a line: why we depend on it"),
        ));
    }
    for (index, line) in text.lines().enumerate() {
        let row = line.strip_prefix("| `").or_else(|| line.strip_prefix("- `"));
        let Some((name, _)) = row.and_then(|row| row.split_once('`')) else { continue };
        if !outside.contains(&name) {
            let what = format!("`{name}` is not in [workspace.dependencies]: remove the line");
            findings.push(Finding::new(DOCUMENT, index + 1, what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str =
        "[workspace.dependencies]\nabi = { path = \"crates/abi\" }\nlibc = \"0.2\"\n";
    const REASONS: &str = "| `libc` | for constants |\n";

    fn found(member: &str, reasons: &str) -> Vec<String> {
        let tree =
            Tree::of(&[("Cargo.toml", ROOT), ("crates/x/Cargo.toml", member), (DOCUMENT, reasons)]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn allowed_edges_and_free_dev_dependencies_pass() {
        let member = "[package]\nname = \"plan\"\n[dependencies]\nabi.workspace = true\n\
                      libc = { workspace = true }\n[dev-dependencies]\ntestkit.workspace = true\n";
        assert_eq!(found(member, REASONS), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_edge_a_version_and_a_stranger_are_named() {
        let member =
            "[package]\nname = \"model\"\n[dependencies]\nlibc = \"0.2\"\nabi.workspace = true\n";
        let found_here = found(member, REASONS);
        assert_eq!(found_here.len(), 2, "{found_here:?}");
        assert!(found_here.iter().any(|f| f.starts_with("crates/x/Cargo.toml:4: libc")));
        assert!(found_here.iter().any(|f| f.contains("Cargo.toml:5: model must not see abi")));
        assert!(found("[package]\nname = \"new\"\n", REASONS)[0].contains("add what it may see"));
    }

    #[test]
    fn dependencies_of_one_target_count() {
        let member = "[package]\nname = \"abi\"\n[target.'cfg(unix)'.build-dependencies]\nplan.workspace = true\n";
        assert!(found(member, REASONS)[0].contains("abi must not see plan"));
    }

    #[test]
    fn the_document_and_the_table_agree() {
        let member = "[package]\nname = \"abi\"\n";
        assert!(found(member, "")[0].contains("give `libc` a line"));
        assert!(
            found(member, "| `libc` | x |\n| `gone` | y |\n")[0]
                .contains("dependencies.md:2: `gone`")
        );
    }
}
