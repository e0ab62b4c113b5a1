use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use qapi::Result;
use qapi::record::Record;

use super::Session;
use crate::command::{Command, Flags, Registry, Version};
use crate::event::EventDesc;

#[derive(Debug, Record)]
struct AddArguments {
    left: i64,
    right: i64,
}

#[derive(Debug, Record)]
struct Sum {
    sum: i64,
}

type Log = Mutex<Vec<i64>>;

async fn add(log: &Log, arguments: AddArguments) -> Result<Sum> {
    let sum = arguments.left + arguments.right;
    log.lock().unwrap().push(sum);
    Ok(Sum { sum })
}

const COMMANDS: &[Command<Log>] = &[crate::command!("add", Flags::NONE, AddArguments => Sum, add)];
const EVENTS: &[EventDesc] = &[EventDesc {
    name: "STOP",
    describe: |_| None,
    limited_by: None,
}];

fn registry() -> Registry<Log> {
    let version = Version {
        numbers: [10, 0, 2],
        package: String::new(),
    };
    Registry::new(version, vec![COMMANDS], vec![EVENTS])
}

/// What the server answers to all of `input`.
fn talk(input: &str) -> String {
    let registry = registry();
    let log = Log::default();
    let mut session = Session::new(false);
    let mut out = String::new();
    for request in session.feed(input.as_bytes()) {
        let mut answer = Box::pin(session.answer(&registry, &log, request));
        match answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(text) => out.push_str(&text),
            Poll::Pending => panic!("nothing here waits"),
        }
    }
    out
}

fn after_negotiation(input: &str) -> String {
    let all = talk(&format!("{{'execute': 'qmp_capabilities'}}{input}"));
    all.strip_prefix("{\"return\": {}}\r\n")
        .expect("negotiated")
        .to_owned()
}

#[test]
fn a_command_runs_and_its_id_comes_back() {
    assert_eq!(
        after_negotiation("{'execute':'add','arguments':{'left':1,'right':2},'id':[7]}"),
        "{\"return\": {\"sum\": 3}, \"id\": [7]}\r\n"
    );
}

#[test]
fn nothing_runs_before_the_negotiation() {
    assert_eq!(
        talk("{'execute':'add'}"),
        "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities negotiation with 'qmp_capabilities'\"}}\r\n"
    );
    assert!(
        after_negotiation("{'execute':'qmp_capabilities'}")
            .contains("Capabilities negotiation is already complete, command ignored")
    );
}

#[test]
fn faults_are_told_in_the_known_words() {
    for (input, words) in [
        ("foo ", "JSON parse error, invalid keyword 'foo'"),
        ("12 ", "QMP input must be a JSON object"),
        ("{}", "QMP input lacks member 'execute'"),
        ("{'exec':'x'}", "QMP input member 'exec' is unexpected"),
        (
            "{'execute':1}",
            "QMP input member 'execute' must be a string",
        ),
        (
            "{'execute':'add','arguments':1}",
            "QMP input member 'arguments' must be an object",
        ),
        (
            "{'execute':'bogus'}",
            "The command bogus has not been found",
        ),
        ("{'execute':'add'}", "Parameter 'left' is missing"),
        (
            "{'execute':'add','arguments':{'left':1,'right':2,'x':3}}",
            "Parameter 'x' is unexpected",
        ),
        (
            "{'exec-oob':'add'}",
            "QMP input member 'exec-oob' is unexpected",
        ),
    ] {
        let answer = after_negotiation(input);
        assert!(answer.contains(words), "{input}: {answer}");
    }
}

#[test]
fn out_of_band_is_asked_for_and_kept_to_commands_that_can() {
    let answer = talk(
        "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}{'exec-oob':'add','id':1}",
    );
    assert!(
        answer.contains("The command add does not support OOB"),
        "{answer}"
    );
}

#[test]
fn the_lists_describe_themselves() {
    let names = after_negotiation("{'execute':'query-commands'}");
    for name in ["qmp_capabilities", "query-qmp-schema", "add"] {
        assert!(
            names.contains(&format!("{{\"name\": \"{name}\"}}")),
            "{names}"
        );
    }
    let schema = after_negotiation("{'execute':'query-qmp-schema'}");
    for part in [
        "\"name\": \"STOP\"",
        "\"name\": \"add\"",
        "\"meta-type\": \"event\"",
        "{\"name\": \"left\", \"type\": \"int\"}",
    ] {
        assert!(schema.contains(part), "{part} in {schema}");
    }
}

#[test]
fn the_greeting_tells_version_and_capabilities() {
    assert_eq!(
        Session::new(false).greeting(&registry()),
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"
    );
}
