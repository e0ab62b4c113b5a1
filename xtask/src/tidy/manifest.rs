//! The little of a `Cargo.toml` that the rules look at, read line by line: sections and keys.

use super::File;

/// Which table a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Normal,
    Dev,
    Build,
}

/// A dependency and its line.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) line: usize,
}

/// One package's manifest.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    pub(super) name: String,
    /// `[package.metadata.house] layer`.
    pub(super) layer: Option<u32>,
    pub(super) dependencies: Vec<Dependency>,
    /// `[lints] workspace = true`.
    pub(super) workspace_lints: bool,
    /// `path = "..."` of explicit targets.
    pub(super) target_paths: Vec<String>,
}

impl Manifest {
    /// Reads a manifest; `None` for a workspace without a package.
    pub(super) fn read(file: &File) -> Option<Self> {
        let mut manifest = Self::default();
        let mut section = String::new();
        for (number, line) in file.lines() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_matches(['[', ']']).to_owned();
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            manifest.entry(&section, key.trim(), value.trim(), number);
        }
        (!manifest.name.is_empty()).then_some(manifest)
    }

    fn entry(&mut self, section: &str, key: &str, value: &str, line: usize) {
        let plain = value.trim_matches('"');
        match (section, key) {
            ("package", "name") => plain.clone_into(&mut self.name),
            ("package.metadata.house", "layer") => self.layer = plain.parse().ok(),
            ("lints", "workspace") => self.workspace_lints = value == "true",
            ("test" | "bin" | "lib" | "bench" | "example", "path") => {
                self.target_paths.push(plain.to_owned());
            }
            ("dependencies", _) => self.depend(key, Table::Normal, line),
            ("dev-dependencies", _) => self.depend(key, Table::Dev, line),
            ("build-dependencies", _) => self.depend(key, Table::Build, line),
            _ => {}
        }
    }

    fn depend(&mut self, key: &str, table: Table, line: usize) {
        let name = key.split('.').next().unwrap_or(key).to_owned();
        self.dependencies.push(Dependency { name, table, line });
    }
}

/// The folder a manifest describes, with a final `/` (empty for the top).
pub(super) fn folder(file: &File) -> &str {
    file.path.strip_suffix("Cargo.toml").unwrap_or_default()
}
