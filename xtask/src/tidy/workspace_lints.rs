//! Lints are set once, in the workspace: each crate says `[lints] workspace = true` and nothing else.

use super::manifest::Manifest;
use super::{Finding, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "workspace-lints",
    check,
};

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.manifests() {
        let Some(manifest) = Manifest::read(file) else {
            continue;
        };
        if !manifest.workspace_lints {
            let what = "no `[lints] workspace = true`";
            findings.push(Finding::new(file, 1, what));
        }
        for (number, line) in file.lines() {
            if line.trim().starts_with("[lints.") {
                findings.push(Finding::new(file, number, "lints are set in the workspace"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_lints_of_its_own_is_found() {
        let text = "[package]\nname = \"a\"\n[lints.clippy]\ntodo = \"allow\"\n";
        assert_eq!(check(&Tree::of(&[("crates/a/Cargo.toml", text)])).len(), 2);
    }
}
