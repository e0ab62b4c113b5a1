use super::{parse, parse_options};
use crate::json;

fn tree(text: &str) -> String {
    match parse_options(text, None) {
        Ok(options) => json::compact(&options.into()),
        Err(error) => error.message().to_owned(),
    }
}

#[test]
fn dots_nest_and_numbers_make_lists() {
    assert_eq!(
        tree("driver=qcow2,file.driver=file,file.filename=a,,b"),
        r#"{"driver": "qcow2", "file": {"driver": "file", "filename": "a,b"}}"#
    );
    assert_eq!(
        tree("children.1.x=b,children.0.x=a"),
        r#"{"children": [{"x": "a"}, {"x": "b"}]}"#
    );
}

#[test]
fn the_last_of_equal_keys_wins_and_a_last_comma_is_nothing() {
    assert_eq!(tree("a=1,a=2,"), r#"{"a": "2"}"#);
    assert_eq!(tree(""), "{}");
}

#[test]
fn contradictions_are_told() {
    assert_eq!(tree("a=1,a.b=2"), "Parameters 'a.*' used inconsistently");
    assert_eq!(tree("a.b=2,a=1"), "Parameters 'a.*' used inconsistently");
    assert_eq!(tree("a.b=2,a.0=1"), "Parameters 'a.*' used inconsistently");
    assert_eq!(tree("a.0=2,a.2=1"), "Parameter 'a.1' missing");
    assert_eq!(tree("l.0.a.1=1"), "Parameter 'l.0.a.0' missing");
}

#[test]
fn what_is_no_key_is_told() {
    assert_eq!(tree("a"), "Expected '=' after parameter 'a'");
    assert_eq!(tree("=b"), "Invalid parameter ''");
    assert_eq!(tree("a..b=c"), "Invalid parameter 'a..b'");
    assert_eq!(tree("0=c"), "Invalid parameter '0'");
    assert_eq!(tree("-a=c"), "Invalid parameter '-a'");
    assert_eq!(tree("__x=1"), "Invalid parameter '__x'");
    assert_eq!(tree("__org.x_a=1"), "Invalid parameter '__org.x_a'");
    assert_eq!(tree("\u{e9}=1"), "Invalid parameter '\u{e9}'");
    let long = "a".repeat(128);
    assert_eq!(
        tree(&format!("{long}=1")),
        format!("Parameter '{long}' is too long")
    );
    assert_eq!(
        tree(&format!("b.{long}=1")),
        format!("Parameter fragment '{long}' is too long")
    );
}

#[test]
fn a_first_word_is_the_implied_keys_value() {
    let options = parse_options("secret,id=a", Some("qom-type")).unwrap();
    assert_eq!(options.get_str("qom-type"), Some("secret"));
    assert_eq!(options.get_str("id"), Some("a"));
    // With a `=` it is a key like any other.
    let options = parse_options("qom-type=secret", Some("qom-type")).unwrap();
    assert_eq!(options.get_str("qom-type"), Some("secret"));
}

#[test]
fn an_implied_value_has_no_comma_and_is_not_empty() {
    let words = |text: &str| parse_options(text, Some("driver")).unwrap_err();
    assert_eq!(words("foo,,bar").message(), "Invalid parameter ''");
    assert_eq!(words(",id=x").message(), "Invalid parameter ''");
    assert_eq!(
        words("foo,bar").message(),
        "Expected '=' after parameter 'bar'"
    );
    let dotted = parse_options("se.cret", Some("driver")).unwrap();
    assert_eq!(dotted.get_str("driver"), Some("se.cret"));
}

#[test]
fn zeroes_before_an_index_do_not_count() {
    assert_eq!(tree("a.0=2,a.00=1"), r#"{"a": ["1"]}"#);
    assert_eq!(tree("a.99999999999999999999=1"), "Parameter 'a.0' missing");
}

#[test]
fn help_is_a_word_of_its_own() {
    assert!(parse("help", None).unwrap().help);
    assert!(parse("secret,help", Some("qom-type")).unwrap().help);
    assert!(parse("a=1,?", None).unwrap().help);
    assert!(!parse("a=help", None).unwrap().help);
    assert_eq!(tree("help"), "Help is not available for this option");
}

#[test]
fn deep_keys_end() {
    let deep = vec!["a"; 100_000].join(".");
    assert!(parse(&format!("{deep}=1"), None).is_err());
}
