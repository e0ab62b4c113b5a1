//! What `qnbd` refuses, beside the real `qemu-nbd`: both streams and exit codes.

use std::time::Duration;

use house_tests::normal::normalise;
use house_tests::tools::{our_nbd, qemu_nbd};
use house_tests::{Limits, Output, Scratch, Tool, reference, require};

/// Command lines that both end by themselves.
const REFUSED: &[&[&str]] = &[
    &[],
    &["a", "b"],
    &["-e", "abc", "a"],
    &["-e", "-1", "a"],
    &["-e", "2147483648", "a"],
    &["-e", "abc", "--bogus"],
    &["--bogus"],
    &["-Z"],
    &["-c"],
    &["--connect"],
    &["--fork=1"],
    &["--d"],
    &["--a"],
    &["--c"],
    &["-o", "100x", "a"],
    &["-o", "", "a"],
    &["-o", "-1", "-f", "raw", "a.raw"],
    &["-o", "9000000", "-f", "raw", "a.raw"],
    &["--handshake-limit", "x", "a"],
    &["--handshake-limit=-1", "a"],
    &["--detect-zeroes=bad", "a"],
    &["--detect-zeroes=unmap", "a"],
    &["--discard=ignore", "--detect-zeroes=unmap", "a"],
    &["--aio=x", "a"],
    &["--aio=native", "--aio=threads", "a"],
    &["--aio=native", "-f", "raw", "a.raw"],
    &["-k", "s", "a"],
    &["-k", "/no/such/dir/s", "a.raw"],
    &["--object", "secret", "a"],
    &["--object", "foo,id=x", "a"],
    &["--object", "secret,id=x", "a"],
    &[
        "--object",
        "secret,id=x,data=1",
        "--tls-creds",
        "x",
        "a.raw",
    ],
    &["--tls-creds", "x", "a"],
    &["--tls-authz", "x", "a"],
    &["--tls-hostname", "x", "a"],
    &["--tls-creds", "x", "--tls-authz", "y", "-L"],
    &["--tls-creds", "x", "--tls-hostname", "y", "a"],
    &["--tls-creds", "x", "-c", "/dev/nbd0", "a"],
    &["-L", "a"],
    &["-L", "-x", "a"],
    &["-L", "-o", "512"],
    &["-L", "--cache=none"],
    &["-L", "--fork"],
    &["-L", "-p", "1"],
    &["-L", "-p", "no-such-service"],
    &["-p", "no-such-service", "a.raw"],
    &["-b", "192.0.2.1", "a.raw"],
    &["-f", "bogus", "a.raw"],
    &["no-such-file"],
    &["--image-opts", "-f", "raw", "a.raw"],
    &["--image-opts", "driver=qcow2,file.filename=no-such-file"],
    &["-l", "snap", "a.qcow2"],
    &["-l", "snapshot.id=1", "a.qcow2"],
    &["-l", "snapshot.foo=1", "a.qcow2"],
    &["-l", "snap", "-f", "raw", "a.raw"],
    &["-n", "--cache=none", "a.qcow2"],
    &["--cache=foo", "x"],
    &["--discard=foo", "x"],
    &["--discard=on", "--discard=off", "x"],
    &["-d", "/dev/no-such-nbd"],
    &["-d", "/dev/null"],
    &["-c", "/dev/no-such-nbd", "-f", "raw", "a.raw"],
    &["-v", "-c", "/dev/no-such-nbd", "-f", "raw", "a.raw"],
    &["-B", "no-such-bitmap", "a.qcow2"],
    &["-B", "one", "-B", "two", "a.qcow2"],
    &["--selinux-label", "x", "a.raw"],
    &["--fork", "no-such-file"],
];

/// Runs one with a socket of its own, unless it is about where to listen.
fn run(tool: &Tool, scratch: &Scratch, args: &[&str]) -> Output {
    let socket = scratch.path("s").to_string_lossy().into_owned();
    let mut words = Vec::new();
    let places = ["-k", "-p", "-b", "-L", "--selinux-label"];
    if !args.iter().any(|a| places.contains(a)) {
        words.extend(["-k", socket.as_str()]);
    }
    words.extend(args);
    let limits = Limits {
        time: Duration::from_secs(20),
        ..Limits::default()
    };
    tool.run_limited(scratch.dir(), &words, limits)
}

/// What was said, with names that differ by place made equal.
fn said(text: &str, tool: &Tool, scratch: &Scratch) -> String {
    normalise(text)
        .replace(&*tool.path.to_string_lossy(), "TOOL")
        .replace(&*scratch.dir().to_string_lossy(), "DIR")
}

#[test]
fn refusals_are_those_of_the_reference() {
    let (img, theirs) = (require!(reference()), require!(qemu_nbd()));
    let ours = our_nbd();
    let scratch = Scratch::new();
    img.run(scratch.dir(), &["create", "-q", "-f", "raw", "a.raw", "8M"])
        .ok();
    img.run(
        scratch.dir(),
        &["create", "-q", "-f", "qcow2", "a.qcow2", "8M"],
    )
    .ok();
    let mut wrong = Vec::new();
    for args in REFUSED {
        let (want, got) = (run(&theirs, &scratch, args), run(&ours, &scratch, args));
        assert!(!want.timed_out, "not refused: {}", want.report());
        let same = got.code == want.code
            && said(&got.stdout, &ours, &scratch) == said(&want.stdout, &theirs, &scratch)
            && said(&got.stderr, &ours, &scratch) == said(&want.stderr, &theirs, &scratch);
        if !same {
            wrong.push(format!("{}\n{}", want.report(), got.report()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn help_man_page_and_completions_name_every_option() {
    let scratch = Scratch::new();
    let help = our_nbd().run(scratch.dir(), &["--help"]).ok().stdout;
    our_nbd()
        .run(scratch.dir(), &["generate", "man", "man"])
        .ok();
    let page = std::fs::read_to_string(scratch.path("man/qemu-nbd.1")).expect("a man page");
    for long in ["port", "socket", "load-snapshot", "devices", "tls-hostname"] {
        assert!(help.contains(&format!("--{long}")), "{long}");
        let escaped = long.replace('-', "\\-");
        assert!(page.contains(&escaped), "{long}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let words = ["generate", "completion", shell];
        let script = our_nbd().run(scratch.dir(), &words).ok().stdout;
        assert!(script.contains("load-snapshot"), "{shell}");
    }
}
