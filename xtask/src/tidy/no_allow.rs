//! Lints are silenced by `expect` with a reason, never by `allow`: it tells when it is no longer needed.

use super::{Finding, Rule, Tree, code_of};

pub(super) const RULE: Rule = Rule {
    name: "no-allow",
    check,
};

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.lines() {
            let code = code_of(line);
            if ["[allow(", ", allow("].iter().any(|bad| code.contains(bad)) {
                let what = "use `#[expect(..., reason = \"...\")]`";
                findings.push(Finding::new(file, number, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_allow_are_found() {
        let text = "#![allow(dead_code)]\n#[cfg_attr(test, allow(x))]\nfn f() { v.allow(1); }\n";
        assert_eq!(check(&Tree::of(&[("crates/a/src/lib.rs", text)])).len(), 2);
    }
}
