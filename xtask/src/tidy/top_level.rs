//! The top folder holds what it must and nothing else, dot files aside.

use super::{Finding, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "top-level",
    check,
};

const NAMES: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "crates",
    "docs",
    "rust-toolchain.toml",
    "tests",
    "xtask",
];

/// Made by builds and never committed.
const BUILT: &str = "target";

fn check(tree: &Tree) -> Vec<Finding> {
    let finding = |name: &str, what: &str| Finding {
        path: name.to_owned(),
        line: 1,
        what: what.to_owned(),
    };
    let extra = tree
        .top
        .iter()
        .filter(|n| !n.starts_with('.') && *n != BUILT && !NAMES.contains(&n.as_str()))
        .map(|n| finding(n, "does not belong into the top folder"));
    let missing = NAMES
        .iter()
        .filter(|n| !tree.top.iter().any(|t| t == *n))
        .map(|n| finding(n, "is missing from the top folder"));
    extra.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_gaps_are_found() {
        let mut tree = Tree {
            top: NAMES.iter().map(|n| (*n).to_owned()).collect(),
            ..Tree::default()
        };
        tree.top.push(".git".to_owned());
        assert!(check(&tree).is_empty());
        tree.top[0] = "notes.txt".to_owned();
        assert_eq!(check(&tree).len(), 2);
    }
}
