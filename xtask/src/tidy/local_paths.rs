//! No path of one developer's machine stands in the repository.

use super::{Finding, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "local-paths",
    check,
};

/// Halved, so that this file does not find itself.
const WORDS: &[(&str, &str)] = &[
    ("/wo", "rk/"),
    (".libr", "ary"),
    ("br", "ief.md"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (number, line) in file.lines() {
            for (a, b) in WORDS {
                let word = format!("{a}{b}");
                if line.contains(&word) {
                    findings.push(Finding::new(file, number, format!("`{word}`")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_path_is_found() {
        let text = format!("see {}{}notes\n", "/wo", "rk/");
        assert_eq!(check(&Tree::of(&[("docs/a.md", &text)])).len(), 1);
        assert!(check(&Tree::of(&[("docs/a.md", "at work\n")])).is_empty());
    }
}
