use super::{Choice, Field, Record, Size, from_json, from_keyval, write};
use crate::schema::{Need, Schema};
use crate::{Dict, Value, json, keyval};

/// How a mirror copies.
#[derive(Debug, Clone, Copy, PartialEq, Choice)]
enum CopyMode {
    Background,
    WriteBlocking,
}

#[derive(Debug, PartialEq, Record)]
struct Common {
    /// Name of the node.
    node_name: Option<String>,
    #[qapi(default = false)]
    read_only: bool,
}

#[derive(Debug, PartialEq, Record)]
struct FileOptions {
    filename: String,
    #[qapi(default = Size(65536))]
    chunk: Size,
    #[qapi(flatten)]
    common: Common,
}

#[derive(Debug, PartialEq, Record)]
struct QuorumOptions {
    children: Vec<Node>,
    vote_threshold: i64,
    mode: Option<CopyMode>,
}

#[derive(Debug, PartialEq, Record)]
#[qapi(tag = "driver")]
enum Node {
    NullCo,
    File(FileOptions),
    Quorum(QuorumOptions),
}

fn object(text: &str) -> Dict {
    match json::parse(text) {
        Ok(Value::Dict(members)) => members,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> String {
    from_json::<Node>(object(text))
        .unwrap_err()
        .message()
        .to_owned()
}

fn refused_option(text: &str) -> String {
    let options = keyval::parse_options(text, None).unwrap();
    from_keyval::<Node>(options)
        .unwrap_err()
        .message()
        .to_owned()
}

#[test]
fn what_is_written_reads_back() {
    let text = r#"{"driver": "quorum", "children": [{"driver": "null-co"}, {"driver": "file", "filename": "a", "chunk": 512, "node-name": "n", "read-only": true}], "vote-threshold": 2, "mode": "write-blocking"}"#;
    let node: Node = from_json(object(text)).unwrap();
    assert_eq!(json::parse(text).unwrap(), write(&node));
}

#[test]
fn strings_become_what_is_asked_for() {
    let options =
        keyval::parse_options("driver=file,filename=a,chunk=1.5k,read-only=yes", None).unwrap();
    let Node::File(file) = from_keyval(options).unwrap() else {
        panic!("a file");
    };
    assert_eq!((file.chunk, file.common.read_only), (Size(1536), true));
}

#[test]
fn refusals_name_the_place() {
    assert_eq!(refused("{}"), "Parameter 'driver' is missing");
    assert_eq!(
        refused(r#"{"driver": "foo"}"#),
        "Parameter 'driver' does not accept value 'foo'"
    );
    assert_eq!(
        refused(r#"{"driver": 1}"#),
        "Invalid parameter type for 'driver', expected: string"
    );
    let quorum = r#"{"driver": "quorum", "vote-threshold": 2, "children": "#;
    assert_eq!(
        refused(&format!("{quorum}[{{\"driver\": \"file\"}}]}}")),
        "Parameter 'children[0].filename' is missing"
    );
    assert_eq!(
        refused(&format!("{quorum}4}}")),
        "Invalid parameter type for 'children', expected: array"
    );
    assert_eq!(
        refused(&format!("{quorum}[4]}}")),
        "Invalid parameter type for 'children[0]', expected: object"
    );
    assert_eq!(
        refused(r#"{"driver": "file", "filename": "a", "x": 1}"#),
        "Parameter 'x' is unexpected"
    );
    assert_eq!(
        refused(r#"{"driver": "file", "filename": "a", "chunk": "1k"}"#),
        "Invalid parameter type for 'chunk', expected: integer"
    );
}

#[test]
fn refusals_of_option_strings_name_the_key() {
    assert_eq!(
        refused_option("driver=quorum,vote-threshold=1,children.0.driver=file"),
        "Parameter 'children.0.filename' is missing"
    );
    assert_eq!(
        refused_option("driver=quorum,vote-threshold=1x,children.0.driver=null-co"),
        "Parameter 'vote-threshold' expects integer"
    );
    assert_eq!(
        refused_option("driver=file,filename=a,read-only=maybe"),
        "Parameter 'read-only' expects 'on' or 'off'"
    );
    assert_eq!(
        refused_option("driver=file,filename=a,chunk=x"),
        "Parameter 'chunk' expects size"
    );
    assert_eq!(
        refused_option("driver=null-co,a.b=1"),
        "Parameters 'a.*' are unexpected"
    );
}

#[test]
fn numbers_keep_their_range() {
    let place = super::Place::root(super::Form::Keyval);
    let read = |text: &str| u8::read(Value::from(text), &place.member("n"));
    assert_eq!(read("0xff").unwrap(), 255);
    assert_eq!(read("017").unwrap(), 15);
    assert_eq!(
        read("256").unwrap_err().message(),
        "Parameter 'n' expects uint8_t"
    );
    assert!(read("").is_err());
    assert!(read("0x-1").is_err());
    let max = u64::read(Value::from("18446744073709551615"), &place).unwrap();
    assert_eq!(max, u64::MAX);
    assert!(u64::read(Value::from("18446744073709551616"), &place).is_err());
    assert!(u64::read(Value::from("-18446744073709551615"), &place).is_err());
}

#[test]
fn records_describe_themselves() {
    let mut schema = Schema::default();
    let node = Node::describe(&mut schema);
    let list = json::compact(&Value::List(schema.to_list()));
    assert_eq!(schema.name(node), "0");
    for part in [
        r#"{"name": "filename", "type": "str"}"#,
        r#""tag": "driver""#,
        r#""case": "file""#,
        r#"{"name": "children", "type": "[0]"}"#,
        r#"{"name": "mode", "default": null"#,
        r#""values": ["background", "write-blocking"]"#,
    ] {
        assert!(list.contains(part), "{part} in {list}");
    }
    assert!(!list.contains(r#""case": "null-co""#));
    let members = FileOptions::members(&mut schema);
    let chunk = members.iter().find(|m| m.name == "chunk").unwrap();
    assert_eq!(chunk.need, Need::DefaultsTo("65536".to_owned()));
    let name = members.iter().find(|m| m.name == "node-name").unwrap();
    assert_eq!(name.help, "Name of the node.");
}

#[test]
fn every_choice_is_listed() {
    let names: Vec<_> = CopyMode::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["background", "write-blocking"]);
    assert_eq!(CopyMode::WriteBlocking.as_str(), "write-blocking");
}
