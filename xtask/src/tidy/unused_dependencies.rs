//! Every dependency of a crate is named somewhere in its code.

use super::manifest::{Dependency, Manifest, Table, folder};
use super::{Finding, Rule, Tree, code_of, has_word};

pub(super) const RULE: Rule = Rule {
    name: "unused-dependencies",
    check,
};

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.manifests() {
        let Some(manifest) = Manifest::read(file) else {
            continue;
        };
        for dependency in &manifest.dependencies {
            // A crate that names itself turns features on for its tests.
            if dependency.name != manifest.name && !used(tree, folder(file), dependency) {
                let what = format!("{} is not used", dependency.name);
                findings.push(Finding::new(file, dependency.line, what));
            }
        }
    }
    findings
}

fn used(tree: &Tree, folder: &str, dependency: &Dependency) -> bool {
    let name = dependency.name.replace('-', "_");
    let place = match dependency.table {
        Table::Normal => format!("{folder}src/"),
        Table::Dev => folder.to_owned(),
        Table::Build => format!("{folder}build.rs"),
    };
    let explicit = !folder.starts_with("crates/");
    tree.rust()
        .filter(|f| f.path.starts_with(&place) || (explicit && f.path.starts_with(folder)))
        .any(|f| f.text.lines().any(|l| has_word(&code_of(l), &name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_nobody_names_is_found() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\nused-one = \"1\"\nidle = \"1\"\n";
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", manifest),
            ("crates/a/src/lib.rs", "use used_one::X; // idle\n"),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.starts_with("idle"));
    }
}
