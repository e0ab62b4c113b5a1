//! Targets that read text: option strings, JSON, files of options, and what people type at monitors.

use char_backends::telnet::Filter;
use monitor_core::hmp::{Editor, Registers, evaluate};
use qapi::{json, keyval, opts};

/// Option strings, `name=value,...`.
pub(crate) fn options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let pairs = opts::split(text, Some("driver"));
    let mut dict = qapi::Dict::new();
    for (name, value) in &pairs {
        dict.insert(name.clone(), qapi::Value::from(value.clone()));
        let _ = qapi::parse_size(value);
        let _ = opts::parse_bool(name, value);
        let _ = opts::parse_size_option(name, value);
    }
    let _ = opts::nest(dict);
    let _ = keyval::parse(text, Some("driver"));
    let _ = keyval::parse(text, None);
    let _ = opts::asks_help(text);
    let _ = opts::is_joinable(text);
}

/// JSON: what was read is printed, and reads the same again; a stream is cut the same in one piece and in many.
pub(crate) fn json(data: &[u8]) {
    let mut splitter = json::Splitter::default();
    let at_once = splitter.feed(data).len();
    let mut splitter = json::Splitter::default();
    let one_by_one: usize = data.iter().map(|b| splitter.feed(&[*b]).len()).sum();
    assert_eq!(at_once, one_by_one);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(value) = json::parse(text) {
        for printed in [json::compact(&value), json::pretty(&value)] {
            let again = json::parse(&printed).expect("what was printed is JSON");
            // Keys of one bucket stand in the reverse order of their coming in: the second time they are as before.
            let twice = json::parse(&json::compact(&again)).expect("what was printed is JSON");
            assert_eq!(json::compact(&twice), json::compact(&value));
        }
    }
}

/// A telnet client's bytes: what is left of them is the same in one piece and in many.
pub(crate) fn telnet(data: &[u8]) {
    let mut at_once = data.to_vec();
    let kept = Filter::default().strip(&mut at_once);
    let mut filter = Filter::default();
    let mut one_by_one: Vec<u8> = Vec::new();
    for byte in data {
        let mut byte = [*byte];
        let kept = filter.strip(&mut byte);
        one_by_one.extend(&byte[..kept]);
    }
    assert_eq!(at_once[..kept], one_by_one);
}

/// A processor whose registers all hold the same.
struct Same;

impl Registers for Same {
    fn register(&self, name: &str) -> Option<u64> {
        (name.len() == 3).then_some(0x1234)
    }
}

/// Keys at a human monitor, and the lines that come of them as expressions.
pub(crate) fn keys(data: &[u8]) {
    let mut editor = Editor::default();
    // Each key draws the line anew.
    for byte in data.iter().take(1024) {
        let step = editor.typed(*byte);
        if let Some(before) = step.complete {
            editor.insert(&before);
        }
        if let Some(line) = step.line {
            assert!(line.chars().count() <= 4095);
            let _ = evaluate(&line, &Same);
        }
    }
    assert!(editor.history().count() <= 64);
}

/// Files of options.
pub(crate) fn groups(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(groups) = vmm_core::groups(&text, "file") {
        assert!(groups.len() <= text.lines().count());
    }
}

/// What telnet clients send.
pub(crate) fn telnet_seeds() -> Vec<Vec<u8>> {
    [
        &b"plain\r\n"[..],
        b"a\xff\xfb\x01b\xff\xff\xff\xfa\x18x\xff\xf0c\xff",
        b"\xff\xf3\xff\xfd\x03\xff\xfa\xff\xff\xff\xf0",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Keys of each kind.
pub(crate) fn key_seeds() -> Vec<Vec<u8>> {
    [
        &b"info status\n"[..],
        b"ab\x1b[D\x1b[C\x01\x05\x04\x15\x17\x08\x7f\t\x0c\n",
        b"1+2*(3-$eip)\n\x10\x10\x0e\x1b[A\x1b[B\x1b[3~\x1b[1~\x1bOF\x1bOH\n",
        b"\x9b99999999999~\xff\xfe\n'\xc3\xa4'\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Files of options of each kind.
pub(crate) fn group_seeds() -> Vec<Vec<u8>> {
    [
        "# none\n\n",
        "[machine]\n  type = \"q35\"\n[device \"d1\"]\n driver = \"pvpanic\"\n",
        "[a b]\nx=\"\"\n[]\n",
        "x = \"1\"\n",
        "[a]\nx = \"\n",
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec()
}

/// Option strings of each kind.
pub(crate) fn option_seeds() -> Vec<Vec<u8>> {
    [
        "",
        "help",
        "size=1G,cluster_size=64k,preallocation=off",
        "driver=qcow2,file.driver=file,file.filename=a,,b",
        "a.0=x,a.1=y,a.2.b=z",
        "file.filename=x,file=y",
        "on,off,no-thing=,=x,,,",
        "size=0x7fffffffffffffff,size=-1,size=1.5T,size=9E",
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec()
}

/// JSON of each kind.
pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    [
        "{}",
        "[1, -1, 1.5e300, 18446744073709551615, -9223372036854775808, true, null]",
        "{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", \"filename\": \"\\u00e9\\ud83d\\ude00\\n\"}}",
        "{'single': 'quotes'}",
        "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
        "\"\\ud800\"",
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec()
}
