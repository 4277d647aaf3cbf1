//! Lists in documents are complete: every reason and every limit is explained to an operator.

use crate::tree::{Finding, Tree};

const REASONS: (&str, &str) = ("crates/abi/src/reason.rs", "docs/reasons.md");
const LIMITS: (&str, &str) = ("crates/abi/src/limits.rs", "docs/limits.md");

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = compare(tree, REASONS, reason);
    findings.extend(compare(tree, LIMITS, limit));
    findings
}

fn compare(
    tree: &Tree,
    (source, document): (&str, &str),
    name_in: fn(&str) -> Option<&str>,
) -> Vec<Finding> {
    let names: Vec<&str> =
        tree.text(source).unwrap_or_default().lines().filter_map(name_in).collect();
    if names.is_empty() {
        return vec![Finding::new(
            source,
            1,
            "names nothing that tidy can read: adapt xtask/src/tidy/lists.rs",
        )];
    }
    let text = tree.text(document).unwrap_or_default();
    let missing = names.iter().filter(|name| !text.contains(&format!("`{name}`")));
    missing.map(|name| Finding::new(document, 1, format!("explain `{name}` of {source}"))).collect()
}

/// `NoEndpoint = 1, "no_endpoint", Refused;`
fn reason(line: &str) -> Option<&str> {
    let (_, after) = line.split_once(" = ")?;
    let (number, rest) = after.split_once(", \"")?;
    number.parse::<u16>().ok()?;
    rest.split_once("\", ").map(|(name, _)| name)
}

/// `pub const SLOTS_MAX: u32 = 1;`
fn limit(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
    name.ends_with("_MAX").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(reasons: &str, limits: &str) -> Vec<String> {
        let tree = Tree::of(&[
            (
                REASONS.0,
                "    /// Doc.\n    NoEndpoint = 1, \"no_endpoint\", Refused;\n    match x { 1 => 2 }\n",
            ),
            (REASONS.1, reasons),
            (LIMITS.0, "pub const SLOTS_MAX: u32 = 1;\npub const RING_BYTES: u32 = 2;\n"),
            (LIMITS.1, limits),
        ]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn every_name_is_explained() {
        assert_eq!(found("| `no_endpoint` |", "`SLOTS_MAX`"), Vec::<String>::new());
        assert_eq!(
            found("", "`SLOTS_MAX`"),
            ["docs/reasons.md:1: explain `no_endpoint` of crates/abi/src/reason.rs"]
        );
        assert_eq!(
            found("`no_endpoint`", "SLOTS_MAX"),
            ["docs/limits.md:1: explain `SLOTS_MAX` of crates/abi/src/limits.rs"]
        );
    }

    #[test]
    fn a_source_that_can_no_longer_be_read_is_a_finding() {
        assert!(check(&Tree::of(&[]))[0].what.contains("adapt"));
    }
}
