//! Known gaps are written `// GAP: what is missing; what the code does instead`, and nothing is left to be
//! done in another form.

use super::{Finding, Rule, Tree, comment_of, has_word};

pub(super) const RULE: Rule = Rule {
    name: "comment-forms",
    check,
};

/// Halved, so that this file does not find itself.
const BARE: [(&str, &str); 4] = [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.lines() {
            let Some(comment) = comment_of(line) else {
                continue;
            };
            for (a, b) in BARE {
                let word = format!("{a}{b}");
                if has_word(comment, &word) {
                    let what = format!("`{word}`: do it, or write a GAP comment and refuse");
                    findings.push(Finding::new(file, number, what));
                }
            }
            if bad_gap(comment) {
                let what = "a gap is written `// GAP: what is missing`";
                findings.push(Finding::new(file, number, what));
            }
        }
    }
    findings
}

fn bad_gap(comment: &str) -> bool {
    comment
        .trim_start()
        .strip_prefix("GAP")
        .is_some_and(|rest| rest.strip_prefix(": ").is_none_or(|text| text.len() < 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        check(&Tree::of(&[("crates/a/src/lib.rs", text)])).len()
    }

    #[test]
    fn bare_words_and_bad_gaps_are_found() {
        assert_eq!(findings(&format!("// {}{} later\n", "TO", "DO")), 1);
        assert_eq!(findings("// GAP no colon\n"), 1);
        assert_eq!(findings("// GAP: x\n"), 1);
        assert_eq!(
            findings("// GAP: no external data file; open refuses it\n"),
            0
        );
        assert_eq!(findings("// a gap in the file\n"), 0);
    }
}
