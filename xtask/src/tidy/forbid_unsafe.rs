//! Every crate root but those of the crates made for it says `#![forbid(unsafe_code)]`.

use super::manifest::{Manifest, folder};
use super::{Finding, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "forbid-unsafe",
    check,
};

/// The crates marked U in the map of the house.
const MAY: &[&str] = &[
    "sys",
    "guest-mem",
    "x86-jit",
    "accel-kvm",
    "accel-soft",
    "user-abi",
    "ui-window",
];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest_file in tree.manifests() {
        let Some(manifest) = Manifest::read(manifest_file) else {
            continue;
        };
        // The fuzzer's entry points are made by a macro that needs it.
        if MAY.contains(&manifest.name.as_str()) || manifest.name == "fuzz-targets" {
            continue;
        }
        let folder = folder(manifest_file);
        let mut roots = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
        roots.extend(manifest.target_paths);
        for root in roots {
            let path = format!("{folder}{root}");
            if let Some(file) = tree.rust().find(|f| f.path == path)
                && !file.text.contains("#![forbid(unsafe_code)]")
            {
                findings.push(Finding::new(file, 1, "no `#![forbid(unsafe_code)]`"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_does_not_forbid_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/a/src/lib.rs", "//! A.\n"),
            ("crates/sys/Cargo.toml", "[package]\nname = \"sys\"\n"),
            ("crates/sys/src/lib.rs", "//! Sys.\n"),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
