//! Rust files end before 600 lines; pure tables may be longer, by name.

use super::{Finding, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "file-length",
    check,
};

const MOST: usize = 600;

/// Files that are nothing but a table.
const TABLES: &[&str] = &[];

fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|f| !TABLES.contains(&f.path.as_str()))
        .filter_map(|f| {
            let lines = f.text.lines().count();
            (lines > MOST).then(|| Finding::new(f, lines, format!("{lines} lines, {MOST} is most")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let text = "// line\n".repeat(MOST + 1);
        assert_eq!(check(&Tree::of(&[("crates/a/src/lib.rs", &text)])).len(), 1);
        let text = "// line\n".repeat(MOST);
        assert!(check(&Tree::of(&[("crates/a/src/lib.rs", &text)])).is_empty());
    }
}
