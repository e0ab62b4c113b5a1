use proptest::prelude::*;

use super::{compact, parse, pretty};
use crate::{Dict, Value};

#[test]
fn members_come_in_the_order_of_the_reference() {
    let mut dict = Dict::new();
    for key in [
        "filename",
        "format",
        "virtual-size",
        "children",
        "actual-size",
        "cluster-size",
        "dirty-flag",
    ] {
        dict.insert(key, 1_i64);
    }
    let text = compact(&Value::Dict(dict));
    let at = |key: &str| text.find(&format!("\"{key}\"")).unwrap();
    let order = [
        "children",
        "virtual-size",
        "filename",
        "cluster-size",
        "format",
        "actual-size",
        "dirty-flag",
    ];
    assert!(
        order.windows(2).all(|pair| at(pair[0]) < at(pair[1])),
        "{text}"
    );
}

#[test]
fn empty_containers_span_two_lines_when_pretty() {
    assert_eq!(pretty(&Value::List(Vec::new())), "[\n]");
    assert_eq!(pretty(&Value::Dict(Dict::new())), "{\n}");
}

#[test]
fn everything_but_printable_ascii_is_escaped() {
    let text = compact(&Value::from("a\"\\\n\u{7f}é😀"));
    assert_eq!(text, "\"a\\\"\\\\\\n\\u007F\\u00E9\\uD83D\\uDE00\"");
    assert_eq!(parse(&text).unwrap(), Value::from("a\"\\\n\u{7f}é😀"));
}

#[test]
fn refusals() {
    for bad in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "nul",
        "\"\\x\"",
        "'a",
        "1 2",
        "{1:2}",
        "\"\\ud800\"",
        "-",
        "1.",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(parse(&"[".repeat(5000)).is_err());
    assert_eq!(
        parse("{'a': [1, -2, 18446744073709551615, 1.5]}").unwrap(),
        parse("{\"a\":[1,-2,18446744073709551615,1.5]}").unwrap()
    );
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        "\\PC*".prop_map(Value::Str),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map("[a-z-]{1,8}", inner, 0..6).prop_map(|map| {
                let mut dict = Dict::new();
                for (key, value) in map {
                    dict.insert(key, value);
                }
                Value::Dict(dict)
            }),
        ]
    })
}

/// Members sorted by key at every level.
fn canonical(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(canonical).collect()),
        Value::Dict(dict) => {
            let mut entries = dict.into_entries();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let mut sorted = Dict::new();
            for (key, value) in entries {
                sorted.insert(key, canonical(value));
            }
            Value::Dict(sorted)
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in value()) {
        prop_assert_eq!(canonical(parse(&compact(&value)).unwrap()), canonical(value.clone()));
        prop_assert_eq!(canonical(parse(&pretty(&value)).unwrap()), canonical(value));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = parse(&text);
    }
}

fn split(pieces: &[&[u8]]) -> Vec<String> {
    let mut splitter = super::Splitter::default();
    let mut out = Vec::new();
    for piece in pieces {
        for text in splitter.feed(piece) {
            out.push(text.unwrap_or_else(|error| format!("error: {error}")));
        }
    }
    out
}

#[test]
fn values_are_cut_out_of_a_stream() {
    assert_eq!(
        split(&[b"{}{'a': '}'}\n[1, [2]]"]),
        ["{}", "{'a': '}'}", "[1, [2]]"]
    );
    assert_eq!(
        split(&[b"{\"a\"", b": \"\\\"", b"}\"}"]),
        ["{\"a\": \"\\\"}\"}"]
    );
    assert_eq!(split(&[b"foo {}12 \"x\""]), ["foo", "{}", "12", "\"x\""]);
    assert_eq!(split(&[b"} {}"]), ["}", "{}"]);
    assert_eq!(split(&[b"{ "]), [] as [&str; 0]);
}

#[test]
fn a_stream_goes_on_behind_what_cannot_be_read() {
    let deep = vec![b'['; 1025];
    assert_eq!(
        split(&[&deep, b"{}"]),
        ["error: JSON nesting depth limit exceeded", "{}"]
    );
    assert_eq!(
        split(&[b"\"\xff\"{}"]),
        [
            "error: JSON parse error, invalid UTF-8 sequence in string",
            "{}"
        ]
    );
}
