//! `cargo xtask tidy`: the house rules, one small program each. A rule sees the tree's text files and
//! says what is wrong where.

mod comment_forms;
mod doc_examples;
mod file_length;
mod forbid_unsafe;
mod forgotten_files;
mod layers;
mod local_paths;
mod manifest;
mod no_allow;
mod safety_comments;
mod top_level;
mod unused_dependencies;
mod workspace_lints;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::root;

/// One house rule.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

const RULES: &[Rule] = &[
    layers::RULE,
    file_length::RULE,
    forgotten_files::RULE,
    unused_dependencies::RULE,
    safety_comments::RULE,
    comment_forms::RULE,
    doc_examples::RULE,
    forbid_unsafe::RULE,
    workspace_lints::RULE,
    no_allow::RULE,
    top_level::RULE,
    local_paths::RULE,
];

/// Something a rule does not like.
#[derive(Debug)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            what: what.into(),
        }
    }
}

/// A text file; its path is relative to the top and uses `/`.
#[derive(Debug)]
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_manifest(&self) -> bool {
        self.path == "Cargo.toml" || self.path.ends_with("/Cargo.toml")
    }

    /// Lines with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .zip(1..)
            .map(|(text, number)| (number, text))
    }
}

/// All text files that belong to the repository.
#[derive(Debug, Default)]
struct Tree {
    files: Vec<File>,
    /// Names in the top folder.
    top: Vec<String>,
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        for entry in fs::read_dir(root)? {
            tree.top
                .push(entry?.file_name().to_string_lossy().into_owned());
        }
        tree.read_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if name != ".git" && name != "target" {
                    self.read_folder(&entry.path(), &format!("{path}/"))?;
                }
            } else if kind.is_file()
                && path != ".git"
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                self.files.push(File { path, text });
            }
        }
        Ok(())
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.is_rust())
    }

    fn manifests(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.is_manifest())
    }

    /// A tree for tests.
    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| File {
                    path: (*path).to_owned(),
                    text: (*text).to_owned(),
                })
                .collect(),
            top: Vec::new(),
        }
    }
}

/// Runs all rules and prints what they find.
///
/// # Errors
/// When a rule found something.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(&root())?;
    let mut count = 0;
    for rule in RULES {
        for finding in (rule.check)(&tree) {
            println!(
                "{}:{}: {} [{}]",
                finding.path, finding.line, finding.what, rule.name
            );
            count += 1;
        }
    }
    if count > 0 {
        bail!("tidy: {count} findings");
    }
    println!(
        "tidy: {} rules over {} files, nothing found",
        RULES.len(),
        tree.files.len()
    );
    Ok(())
}

/// A line without its comment and without the inside of string literals, roughly: good enough to look
/// for words of code.
fn code_of(line: &str) -> String {
    split(line).0
}

/// The comment of a line without its slashes, if it has one.
fn comment_of(line: &str) -> Option<&str> {
    let at = split(line).1?;
    Some(line[at..].trim_start_matches(['/', '!']))
}

/// The code of a line, and where its comment starts.
fn split(line: &str) -> (String, Option<usize>) {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.char_indices().peekable();
    let mut in_string = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if in_string => {
                chars.next();
            }
            '"' => {
                in_string = !in_string;
                out.push('"');
            }
            '/' if !in_string && chars.peek().is_some_and(|(_, next)| *next == '/') => {
                return (out, Some(at));
            }
            _ if in_string => {}
            _ => out.push(c),
        }
    }
    (out, None)
}

/// `line` has `word` as a whole identifier.
fn has_word(line: &str, word: &str) -> bool {
    let is_ident = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_ident)
            && !line[at + word.len()..].chars().next().is_some_and(is_ident)
    })
}
