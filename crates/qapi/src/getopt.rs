//! Options as getopt reads them: `-ab`, `-c VALUE`, `-cVALUE`, `--long`, `--long=VALUE`, abbreviations, operands anywhere,
//! `--` before operands that begin with a dash. Its words of refusal too.

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// `-c`; `None` when there is only a long name.
    pub short: Option<char>,
    /// `--cmd`
    pub long: Option<&'static str>,
    /// Whether a value follows.
    pub value: bool,
}

impl Opt {
    /// `-c` alone.
    pub const fn short(letter: char, value: bool) -> Self {
        Self {
            short: Some(letter),
            long: None,
            value,
        }
    }

    /// `-c` and `--cmd`.
    pub const fn both(letter: char, long: &'static str, value: bool) -> Self {
        Self {
            short: Some(letter),
            long: Some(long),
            value,
        }
    }

    /// `--cmd` alone.
    pub const fn long(long: &'static str, value: bool) -> Self {
        Self {
            short: None,
            long: Some(long),
            value,
        }
    }

    /// The name that [`Parsed`] knows it by.
    fn key(&self) -> String {
        match (self.short, self.long) {
            (Some(letter), _) => letter.to_string(),
            (None, long) => long.unwrap_or_default().to_owned(),
        }
    }
}

/// What a command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Options in their order: short letter (or long name when there is none), value.
    pub options: Vec<(String, Option<String>)>,
    /// What is no option.
    pub operands: Vec<String>,
}

impl Parsed {
    /// Whether an option is there.
    pub fn has(&self, key: &str) -> bool {
        self.options.iter().any(|(name, _)| name == key)
    }

    /// The last value of an option.
    pub fn value(&self, key: &str) -> Option<&str> {
        let found = self.options.iter().rev().find(|(name, _)| name == key);
        found.and_then(|(_, value)| value.as_deref())
    }

    /// All values of an option.
    pub fn values(&self, key: &str) -> Vec<String> {
        let all = self.options.iter().filter(|(name, _)| name == key);
        all.filter_map(|(_, value)| value.clone()).collect()
    }
}

/// Reads `words` (without the program's name).
///
/// # Errors
/// getopt's words, without the program's name in front.
pub fn parse(known: &[Opt], words: &[String]) -> Result<Parsed, String> {
    match parse_until(known, words) {
        (parsed, None) => Ok(parsed),
        (_, Some(message)) => Err(message),
    }
}

/// As [`parse`], but gives what was read before the first wrong word too: a tool that acts on options one by one
/// refuses an earlier option's value before it comes to that word.
pub fn parse_until(known: &[Opt], words: &[String]) -> (Parsed, Option<String>) {
    let mut parsed = Parsed::default();
    let has_long = known.iter().any(|o| o.long.is_some());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            parsed.operands.extend(rest.cloned());
            break;
        }
        let long = word.strip_prefix("--").filter(|_| has_long);
        let read = if let Some(long) = long {
            read_long(known, long, &mut rest, &mut parsed)
        } else if word.len() > 1 && word.starts_with('-') {
            read_short(known, &word[1..], &mut rest, &mut parsed)
        } else {
            parsed.operands.push(word.clone());
            Ok(())
        };
        if let Err(message) = read {
            return (parsed, Some(message));
        }
    }
    (parsed, None)
}

fn read_long<'a>(
    known: &[Opt],
    word: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    parsed: &mut Parsed,
) -> Result<(), String> {
    let (name, given) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let starts: Vec<&Opt> = known
        .iter()
        .filter(|o| o.long.is_some_and(|long| long.starts_with(name)))
        .collect();
    let exact = starts.iter().find(|o| o.long == Some(name));
    let option = match (exact, starts.as_slice()) {
        (Some(option), _) => *option,
        (None, [option]) => *option,
        (None, []) => return Err(format!("unrecognized option '--{name}'")),
        (None, many) => {
            let names: Vec<String> = many
                .iter()
                .filter_map(|o| o.long.map(|long| format!("'--{long}'")))
                .collect();
            return Err(format!(
                "option '--{name}' is ambiguous; possibilities: {}",
                names.join(" ")
            ));
        }
    };
    let long = option.long.unwrap_or_default();
    let value = match (option.value, given) {
        (false, Some(_)) => return Err(format!("option '--{long}' doesn't allow an argument")),
        (false, None) => None,
        (true, Some(value)) => Some(value),
        (true, None) => match rest.next() {
            Some(value) => Some(value.clone()),
            None => return Err(format!("option '--{long}' requires an argument")),
        },
    };
    parsed.options.push((option.key(), value));
    Ok(())
}

fn read_short<'a>(
    known: &[Opt],
    letters: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    parsed: &mut Parsed,
) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let Some(option) = known.iter().find(|o| o.short == Some(letter)) else {
            return Err(format!("invalid option -- '{letter}'"));
        };
        if !option.value {
            parsed.options.push((option.key(), None));
            continue;
        }
        let glued = &letters[at + letter.len_utf8()..];
        let value = if glued.is_empty() {
            rest.next().cloned()
        } else {
            Some(glued.to_owned())
        };
        if value.is_none() {
            return Err(format!("option requires an argument -- '{letter}'"));
        }
        parsed.options.push((option.key(), value));
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Opt] = &[
        Opt::both('c', "cmd", true),
        Opt::short('r', false),
        Opt::long("image-opts", false),
    ];

    fn read(words: &[&str]) -> Result<Parsed, String> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        parse(KNOWN, &words)
    }

    #[test]
    fn values_are_glued_or_apart() {
        let parsed = read(&["-rcx", "a", "--cmd=y", "--cm", "z", "--", "-r"]).unwrap();
        assert_eq!(parsed.values("c"), ["x", "y", "z"]);
        assert_eq!(parsed.operands, ["a", "-r"]);
        assert!(parsed.has("r") && !parsed.has("image-opts"));
    }

    #[test]
    fn refusals_use_the_words_of_getopt() {
        assert_eq!(read(&["-x"]).unwrap_err(), "invalid option -- 'x'");
        assert_eq!(read(&["--x"]).unwrap_err(), "unrecognized option '--x'");
        assert_eq!(
            read(&["-c"]).unwrap_err(),
            "option requires an argument -- 'c'"
        );
        assert_eq!(
            read(&["--image-opts=1"]).unwrap_err(),
            "option '--image-opts' doesn't allow an argument"
        );
    }
}
