//! Each `unsafe` block or impl follows a `// SAFETY:` comment that says something; each `unsafe fn` has a
//! `# Safety` section.

use super::{File, Finding, Rule, Tree, code_of, has_word};

pub(super) const RULE: Rule = Rule {
    name: "safety-comments",
    check,
};

fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let code = code_of(line);
        if !has_word(&code, "unsafe") {
            continue;
        }
        let before = comments_above(&lines, index);
        if code.contains("unsafe fn") || code.contains("unsafe trait") {
            if !before.iter().any(|l| l.contains("# Safety")) && !code.contains("extern") {
                findings.push(Finding::new(file, index + 1, "no `# Safety` section"));
            }
        } else if (code.contains("unsafe {") || code.contains("unsafe impl"))
            && !before.iter().any(|l| has_reason(l))
        {
            findings.push(Finding::new(
                file,
                index + 1,
                "no `// SAFETY: reason` above",
            ));
        }
    }
    findings
}

/// Comments and attributes right above a line, and the statement it continues.
fn comments_above<'a>(lines: &[&'a str], index: usize) -> Vec<&'a str> {
    const FAR: usize = 24;
    lines[index.saturating_sub(FAR)..=index]
        .iter()
        .rev()
        .skip(1)
        .take_while(|l| {
            let l = l.trim();
            l.starts_with("//") || l.starts_with("#[") || l.ends_with('=') || l.ends_with('(')
        })
        .copied()
        .collect()
}

fn has_reason(line: &str) -> bool {
    line.trim()
        .strip_prefix("// SAFETY:")
        .is_some_and(|reason| reason.trim().len() > 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        check(&Tree::of(&[("crates/sys/src/a.rs", text)])).len()
    }

    #[test]
    fn a_block_without_a_reason_is_found() {
        assert_eq!(findings("fn a() {\n    unsafe { b() }\n}\n"), 1);
        assert_eq!(findings("// SAFETY:\nunsafe { b() }\n"), 1);
        assert_eq!(
            findings("// SAFETY: the caller keeps b alive\nunsafe { b() }\n"),
            0
        );
    }

    #[test]
    fn an_unsafe_fn_without_its_section_is_found() {
        assert_eq!(findings("/// Does it.\npub unsafe fn a() {}\n"), 1);
        assert_eq!(
            findings("/// Does it.\n///\n/// # Safety\n/// Say it.\npub unsafe fn a() {}\n"),
            0
        );
    }

    #[test]
    fn the_word_in_text_is_no_code() {
        assert_eq!(findings("// cache=unsafe { }\nlet a = \"unsafe {\";\n"), 0);
    }
}
