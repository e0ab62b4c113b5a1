//! Command lines that many tests use.

/// Of the image tools: `create -q -f FORMAT [-o OPTIONS] NAME SIZE`.
pub fn create<'a>(format: &'a str, options: &'a str, name: &'a str, size: &'a str) -> Vec<&'a str> {
    let mut words = vec!["create", "-q", "-f", format];
    if !options.is_empty() {
        words.extend(["-o", options]);
    }
    words.extend([name, size]);
    words
}

/// Of the io tools: `-f FORMAT -c COMMAND... NAME`.
pub fn io<'a, C: AsRef<str>>(format: &'a str, commands: &'a [C], name: &'a str) -> Vec<&'a str> {
    let mut words = vec!["-f", format];
    for command in commands {
        words.extend(["-c", command.as_ref()]);
    }
    words.push(name);
    words
}
