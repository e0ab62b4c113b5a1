//! Blocks in doc comments are pictures (` ```text `), not examples: examples are tests like any other, so no run of the
//! documentation's own tests is needed.

use super::{Finding, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "doc-examples",
    check,
};

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let mut inside = false;
        for (number, line) in file.lines() {
            let Some(fence) = fence(line) else {
                continue;
            };
            if !inside && fence != "text" {
                let what = "nothing runs a block that is not ```text: write a test";
                findings.push(Finding::new(file, number, what));
            }
            inside = !inside;
        }
    }
    findings
}

/// What follows the fence on a line of a doc comment that is one.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim();
    let comment = line
        .strip_prefix("///")
        .or_else(|| line.strip_prefix("//!"))?;
    comment.trim().strip_prefix("```")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        check(&Tree::of(&[("crates/a/src/lib.rs", text)])).len()
    }

    #[test]
    fn blocks_of_code_are_found() {
        assert_eq!(findings("//! ```text\n//! a\n//! ```\n"), 0);
        assert_eq!(findings("/// ```\n/// f();\n/// ```\n"), 1);
        assert_eq!(findings("/// ```rust\n/// f();\n/// ```\n"), 1);
    }
}
