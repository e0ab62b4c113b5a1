use std::task::{Context, Poll, Waker};

use qapi::Error;

use super::{Arg, Args, Editor, Hmp, HmpCommand, Kind, Registers, Step, evaluate};

/// A context whose registers are known.
struct Machine;

impl Registers for Machine {
    fn register(&self, name: &str) -> Option<u64> {
        (name == "pc").then_some(0xfff0)
    }
}

const COMMANDS: &[HmpCommand<Machine>] = &[
    HmpCommand {
        name: "stop|s",
        args: &[],
        params: "",
        help: "stop emulation",
        run: |_, _| Box::pin(async { Ok("stopped\n".to_owned()) }),
    },
    HmpCommand {
        name: "x",
        args: &[
            Arg::needed("fmt", Kind::Format),
            Arg::needed("addr", Kind::Long),
        ],
        params: "/fmt addr",
        help: "virtual memory dump starting at 'addr'",
        run: |_, args| Box::pin(async move { Ok(show(&args)) }),
    },
    HmpCommand {
        name: "eject",
        args: &[
            Arg::needed("force", Kind::Flag('f')),
            Arg::needed("device", Kind::Device),
        ],
        params: "[-f] device",
        help: "eject a removable medium",
        run: |_, args| {
            Box::pin(async move {
                let device = args.text("device").unwrap_or_default();
                Err(Error::new(format!(
                    "Device '{device}' not found ({})",
                    args.has("force")
                )))
            })
        },
    },
    HmpCommand {
        name: "balloon",
        args: &[Arg::needed("value", Kind::Mebibytes)],
        params: "target",
        help: "request VM to change its memory allocation (in MB)",
        run: |_, args| Box::pin(async move { Ok(format!("{:?}\n", args.number("value"))) }),
    },
    HmpCommand {
        name: "resize",
        args: &[Arg::needed("size", Kind::Size)],
        params: "size",
        help: "resize",
        run: |_, args| Box::pin(async move { Ok(format!("{:?}\n", args.number("size"))) }),
    },
    HmpCommand {
        name: "cpu",
        args: &[Arg::needed("index", Kind::Int)],
        params: "index",
        help: "set the default CPU",
        run: |_, args| Box::pin(async move { Ok(format!("{:?}\n", args.number("index"))) }),
    },
    HmpCommand {
        name: "change",
        args: &[
            Arg::needed("device", Kind::Device),
            Arg::needed("target", Kind::File),
            Arg::optional("arg", Kind::Word),
        ],
        params: "device filename [format]",
        help: "change a removable medium",
        run: |_, args| Box::pin(async move { Ok(format!("{:?}\n", args.text("target"))) }),
    },
];

const ITEMS: &[HmpCommand<Machine>] = &[HmpCommand {
    name: "status",
    args: &[],
    params: "",
    help: "show the current VM status",
    run: |_, _| Box::pin(async { Ok("VM status: running\n".to_owned()) }),
}];

fn show(args: &Args) -> String {
    let format = args.format("fmt");
    format!(
        "{} {:?} {:?} {:#x}\n",
        format.count,
        format.letter,
        format.size,
        args.number("addr").unwrap_or_default()
    )
}

fn hmp() -> Hmp<Machine> {
    Hmp {
        commands: vec![COMMANDS],
        items: vec![ITEMS],
    }
}

fn say(line: &str) -> String {
    let hmp = hmp();
    let mut answer = Box::pin(hmp.run(&Machine, line));
    match answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(text) => text,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[test]
fn lines_run_commands() {
    assert_eq!(say("stop"), "stopped\n");
    assert_eq!(say("  s  "), "stopped\n");
    assert_eq!(say(""), "");
    assert_eq!(say("info status"), "VM status: running\n");
    assert_eq!(say("x/4xb $pc+0x10"), "4 Some('x') Some(1) 0x10000\n");
    assert_eq!(say("x 16"), "1 None None 0x10\n");
    assert_eq!(say("balloon 2"), "Some(2097152)\n");
    assert_eq!(say("resize 4k"), "Some(4096)\n");
    assert_eq!(say("resize 4"), "Some(4194304)\n");
    assert_eq!(say("change cd \"a b\\\"c\" raw"), "Some(\"a b\\\"c\")\n");
}

#[test]
fn what_is_wrong_is_told() {
    assert_eq!(say("foo"), "unknown command: 'foo'\n");
    assert_eq!(say("info foo"), "unknown command: 'info foo'\n");
    assert_eq!(
        say("stop now"),
        "stop|s: extraneous characters at the end of line\nTry \"help stop\" for more information\n"
    );
    assert!(say("eject").starts_with("eject: block device name expected\n"));
    assert!(say("change cd").starts_with("change: filename expected\n"));
    assert!(say("cpu t").starts_with("invalid char 't' in expression\n"));
    assert!(say("cpu").starts_with("unexpected end of expression\n"));
    assert!(say("cpu 0x100000000").starts_with("'cpu' has failed: integer is for 32-bit values\n"));
    assert!(say("balloon x").starts_with("invalid char 'x' in expression\n"));
    assert!(say("resize x").starts_with("invalid size\n"));
    assert!(say("eject -x cd").starts_with("eject: unsupported option -x\n"));
    assert!(
        say("change \"a").starts_with("unterminated string\nchange: block device name expected\n")
    );
    assert!(say("x/4z 0").starts_with("invalid char in format: 'z'\n"));
    assert_eq!(
        say("eject -f cd0"),
        "Error: Device 'cd0' not found (true)\n"
    );
}

#[test]
fn help_is_one_line_a_command() {
    assert_eq!(say("help stop"), "stop|s  -- stop emulation\n");
    assert_eq!(
        say("? x"),
        "x /fmt addr -- virtual memory dump starting at 'addr'\n"
    );
    assert_eq!(say("info"), "info status  -- show the current VM status\n");
    assert_eq!(say("help foo"), "unknown command: 'foo'\n");
    assert!(say("help").starts_with("balloon target -- "));
}

#[test]
fn words_are_completed() {
    assert_eq!(hmp().complete("s"), ["s", "stop"]);
    assert_eq!(hmp().complete("info s"), ["status"]);
    assert!(hmp().complete("stop s").is_empty());
}

#[test]
fn expressions_are_evaluated() {
    let value = |text| evaluate(text, &Machine).map(|(value, rest)| (value, rest.to_owned()));
    assert_eq!(value("1 + 2 * 3"), Ok((7, String::new())));
    assert_eq!(value("0x10|3+1 rest"), Ok((0x14, "rest".to_owned())));
    assert_eq!(value("-(1-3)"), Ok((2, String::new())));
    assert_eq!(value("~0"), Ok((-1, String::new())));
    assert_eq!(value("017"), Ok((15, String::new())));
    assert_eq!(value("'A'"), Ok((65, String::new())));
    assert_eq!(value("1/0"), Err("division by zero".to_owned()));
    assert_eq!(
        value("-9223372036854775808/-1"),
        Ok((i64::MIN, String::new()))
    );
    assert_eq!(value("$foo"), Err("unknown register".to_owned()));
    assert_eq!(value("(1"), Err("')' expected".to_owned()));
    assert!(value(&"(".repeat(10_000)).is_err());
}

/// What the terminal shows while all of `keys` are typed, and the lines that came of it.
fn edited(keys: &[u8]) -> (String, Vec<String>) {
    let mut editor = Editor::default();
    let steps: Vec<Step> = keys.iter().map(|key| editor.typed(*key)).collect();
    let shown = steps.iter().map(|step| step.shown.as_str()).collect();
    (shown, steps.into_iter().filter_map(|s| s.line).collect())
}

#[test]
fn the_line_is_drawn_again_after_each_key() {
    let (shown, lines) = edited(b"ab\n");
    assert_eq!(shown, "a\x1b[K\x1b[Dab\x1b[K\n");
    assert_eq!(lines, ["ab"]);
}

#[test]
fn keys_of_the_editor_change_the_line() {
    for (keys, wanted) in [
        (&b"stp\x1b[Do\n"[..], "stop"),
        (b"xstop\x01\x04\n", "stop"),
        (b"stopp\x7f\n", "stop"),
        (b"quit now\x17\n", "quit "),
        (b"abc\x15stop\n", "stop"),
        (b"top\x1b[1~s\x1b[4~!\x08\n", "stop"),
    ] {
        assert_eq!(edited(keys).1, [wanted]);
    }
    let (_, lines) = edited(b"one\ntwo\n\x1b[A\x1b[A\n\x10\n");
    assert_eq!(lines, ["one", "two", "one", "one"]);
}

#[test]
fn the_last_lines_are_remembered_once_each() {
    let mut editor = Editor::default();
    for n in 0..100 {
        for key in format!("line {n}\n\nsame\n").bytes() {
            editor.typed(key);
        }
    }
    editor.typed(b'x');
    editor.restart();
    let lines: Vec<_> = editor.history().collect();
    assert_eq!(lines.len(), 64);
    assert_eq!(lines[61..], ["line 98", "line 99", "same"]);
    assert_eq!(editor.typed(b'\n').line.as_deref(), Some(""));
}
