//! Targets that read text: option strings and JSON.

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
