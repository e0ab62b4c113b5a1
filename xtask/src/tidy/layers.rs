//! Dependencies point down: a crate uses lower layers, and within its own layer only what this table
//! names (docs/README.md shows the layers).

use std::collections::HashMap;

use super::manifest::Manifest;
use super::{Finding, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "layers",
    check,
};

/// Who may use whom within one layer.
const WITHIN: &[(&str, &[&str])] = &[
    ("qapi", &["qapi-derive"]),
    ("object", &["qapi"]),
    ("reactor", &["sys"]),
    ("guest-mem", &["codec", "sys"]),
    ("crypto", &["object", "codec", "qapi"]),
    ("nbd-proto", &["codec"]),
    ("tool-cli", &["qapi"]),
    ("hw-core", &["accel-core", "backend-core", "block-core"]),
    ("x86-jit", &["x86-cpu"]),
    ("accel-soft", &["x86-cpu", "x86-jit"]),
    ("accel-kvm", &["x86-cpu"]),
    ("dev-virtio", &["p9"]),
    ("net-backends", &["slirp"]),
    ("qmp-block", &["block"]),
    ("machine", &["block"]),
    ("qmp-machine", &["machine", "qmp-block"]),
    ("fuzz-targets", &["house-tests"]),
];

fn check(tree: &Tree) -> Vec<Finding> {
    let manifests: Vec<_> = tree
        .manifests()
        .filter_map(|f| Manifest::read(f).map(|m| (f, m)))
        .collect();
    let layers: HashMap<&str, u32> = manifests
        .iter()
        .filter_map(|(_, m)| m.layer.map(|l| (m.name.as_str(), l)))
        .collect();
    let mut findings = Vec::new();
    for (file, manifest) in &manifests {
        let Some(layer) = manifest.layer else {
            let what = "no `layer` in [package.metadata.house]";
            findings.push(Finding::new(file, 1, what));
            continue;
        };
        for dependency in &manifest.dependencies {
            let Some(&below) = layers.get(dependency.name.as_str()) else {
                continue;
            };
            if below >= layer && !may_use_within(&manifest.name, layer, &dependency.name, below) {
                let what = format!(
                    "{} (layer {layer}) may not use {} (layer {below})",
                    manifest.name, dependency.name
                );
                findings.push(Finding::new(file, dependency.line, what));
            }
        }
    }
    findings
}

fn may_use_within(name: &str, layer: u32, used: &str, below: u32) -> bool {
    // A crate's own dev-dependency on itself only turns features on for its tests.
    below == layer
        && (name == used
            || WITHIN
                .iter()
                .any(|(user, allowed)| *user == name && allowed.contains(&used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_of(name: &str, layer: u32, uses: &str) -> (String, String) {
        let text = format!(
            "[package]\nname = \"{name}\"\n[package.metadata.house]\nlayer = {layer}\n[dependencies]\n{uses}.workspace = true\n"
        );
        (format!("crates/{name}/Cargo.toml"), text)
    }

    fn findings(crates: &[(String, String)]) -> Vec<Finding> {
        let files: Vec<_> = crates
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        check(&Tree::of(&files))
    }

    #[test]
    fn upward_and_sideways_uses_are_found() {
        let found = findings(&[
            crate_of("low", 1, "high"),
            crate_of("high", 2, "peer"),
            crate_of("peer", 2, "std"),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_table_allows_by_name() {
        let found = findings(&[crate_of("reactor", 0, "sys"), crate_of("sys", 0, "rustix")]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let text = "[package]\nname = \"x\"\n".to_owned();
        assert_eq!(
            findings(&[("crates/x/Cargo.toml".to_owned(), text)]).len(),
            1
        );
    }
}
