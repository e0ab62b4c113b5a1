//! Every Rust file is reached by `mod` from a crate root: one that is not is compiled by nobody.

use std::collections::HashSet;

use super::manifest::{Manifest, folder};
use super::{Finding, Rule, Tree, code_of};

pub(super) const RULE: Rule = Rule {
    name: "forgotten-files",
    check,
};

fn check(tree: &Tree) -> Vec<Finding> {
    let all: HashSet<&str> = tree.rust().map(|f| f.path.as_str()).collect();
    let mut reached: HashSet<String> = HashSet::new();
    let mut open: Vec<String> = roots(tree, &all);
    while let Some(path) = open.pop() {
        if !all.contains(path.as_str()) || !reached.insert(path.clone()) {
            continue;
        }
        if let Some(file) = tree.rust().find(|f| f.path == path) {
            open.extend(children(&path, &file.text));
        }
    }
    tree.rust()
        .filter(|f| !reached.contains(&f.path))
        .map(|f| Finding::new(f, 1, "no `mod` reaches this file"))
        .collect()
}

fn roots(tree: &Tree, all: &HashSet<&str>) -> Vec<String> {
    let mut roots = Vec::new();
    for file in tree.manifests() {
        let folder = folder(file);
        for name in ["src/lib.rs", "src/main.rs", "build.rs"] {
            roots.push(format!("{folder}{name}"));
        }
        if let Some(manifest) = Manifest::read(file) {
            roots.extend(manifest.target_paths.iter().map(|p| format!("{folder}{p}")));
        }
        for auto in ["src/bin/", "tests/", "benches/", "examples/"] {
            let auto = format!("{folder}{auto}");
            let is_root = |p: &&&str| {
                p.strip_prefix(&auto)
                    .is_some_and(|rest| !rest.contains('/') || rest.ends_with("/main.rs"))
            };
            roots.extend(all.iter().filter(is_root).map(|p| (*p).to_owned()));
        }
    }
    roots
}

/// Where the modules that `text` names may lie.
fn children(path: &str, text: &str) -> Vec<String> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.trim_end_matches(".rs");
    let own = format!("{dir}/{stem}");
    let mut found = Vec::new();
    for line in text.lines() {
        let code = code_of(line);
        let Some(module) = code.trim().strip_suffix(';').and_then(|c| {
            c.split_whitespace()
                .collect::<Vec<_>>()
                .windows(2)
                .find_map(|pair| (pair[0] == "mod").then(|| pair[1].to_owned()))
        }) else {
            continue;
        };
        // A root's modules lie beside it, another file's in the folder named for it. Roots may have any
        // name, so both places count.
        for base in [dir, own.as_str()] {
            found.push(format!("{base}/{module}.rs"));
            found.push(format!("{base}/{module}/mod.rs"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreached_file_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/a/src/lib.rs", "mod used;\n"),
            ("crates/a/src/used.rs", "#[cfg(test)]\nmod tests;\n"),
            ("crates/a/src/used/tests.rs", ""),
            ("crates/a/src/lost.rs", ""),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "crates/a/src/lost.rs");
    }
}
