//! `qnbd` beside the real `qemu-nbd`, from start to end: both streams, exit codes, lists, sockets of systemd, forking, and
//! who ends a server when.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use house_tests::normal::normalise;
use house_tests::run::until;
use house_tests::tools::{our_nbd, qemu_nbd};
use house_tests::{Scratch, Tool, qemu_io, reference, require};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);

/// Options with which both serve, and what is then listed is the same.
const SERVED: &[&[&str]] = &[
    &["-f", "raw", "a.raw"],
    &["a.raw"],
    &["a.qcow2"],
    &["-r", "-f", "raw", "a.raw"],
    &["--read-only", "-e", "0", "-f", "raw", "a.raw"],
    &["-e", "5", "-f", "raw", "a.raw"],
    &["--shared=2", "--persistent", "--format=raw", "a.raw"],
    &["-x", "exp", "-D", "some words", "-f", "raw", "a.raw"],
    &["-x", "", "-D", "", "-f", "raw", "a.raw"],
    &["-x", "\u{e9}\u{1f980} 'quoted'", "-f", "raw", "a.raw"],
    &["-A", "-f", "qcow2", "a.qcow2"],
    &["-B", "bm", "-f", "qcow2", "a.qcow2"],
    &["-B", "bm", "-B", "off", "-A", "-f", "qcow2", "a.qcow2"],
    &["-r", "-B", "off", "-f", "qcow2", "a.qcow2"],
    &["-s", "-f", "qcow2", "a.qcow2"],
    &["-l", "snap", "-f", "qcow2", "a.qcow2"],
    &["-l", "snapshot.name=snap", "-f", "qcow2", "a.qcow2"],
    &["-l", "snapshot.id=1,snapshot.name=snap", "a.qcow2"],
    &["-o", "512", "-f", "raw", "a.raw"],
    &["--offset=1048576", "-f", "raw", "a.raw"],
    &["-o", "1M", "-f", "qcow2", "a.qcow2"],
    &["-f", "raw", "odd.raw"],
    &["-f", "raw", "empty.raw"],
    &["--image-opts", "driver=qcow2,file.filename=a.qcow2"],
    &[
        "--image-opts",
        "driver=raw,offset=512,size=4096,file.filename=a.raw",
    ],
    &["--cache=none", "-f", "raw", "a.raw"],
    &["--cache=unsafe", "--aio=threads", "-f", "raw", "a.raw"],
    &["--discard=unmap", "--detect-zeroes=unmap", "a.qcow2"],
    &["--detect-zeroes=on", "--discard=off", "a.qcow2"],
    &["--handshake-limit=0", "-f", "raw", "a.raw"],
    &["-v", "-f", "raw", "a.raw"],
];

/// What happens to a server that may serve two clients and is not persistent.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A client comes and chooses the export.
    Come,
    /// The one that came first leaves.
    Leave,
    /// A client comes and goes without choosing.
    Peek,
    Signal(Signal),
}

use Event::{Come, Leave, Peek};

/// The rest of the command line, and what happens.
const LIVES: &[(&[&str], &[Event])] = &[
    (&[], &[Come, Leave]),
    (&[], &[Peek, Come, Leave]),
    (&[], &[Come, Peek]),
    (&["-e", "2"], &[Come, Come, Leave]),
    (&["-e", "2"], &[Come, Come, Leave, Leave]),
    (&["-e", "2"], &[Come, Come, Leave, Come, Leave]),
    (&["-t"], &[Come, Leave, Come, Leave]),
    (&["-t"], &[Come, Event::Signal(Signal::TERM)]),
    (&["-t"], &[Event::Signal(Signal::TERM)]),
    (&["-t"], &[Come, Event::Signal(Signal::INT)]),
    (&["-t"], &[Peek, Event::Signal(Signal::HUP)]),
    (
        &["-t", "-e", "2"],
        &[Come, Come, Event::Signal(Signal::TERM)],
    ),
    (&["-t", "-v"], &[Come, Leave, Event::Signal(Signal::TERM)]),
];

/// With a socket of systemd's: how many, whether it is one, and the rest of the command line.
const ACTIVATED: &[(u32, bool, &[&str])] = &[
    (1, true, &["-f", "raw", "a.raw"]),
    (1, true, &["-t", "-r", "-f", "raw", "a.raw"]),
    (1, true, &["-f", "raw", "no-such-file"]),
    (1, true, &["-k", "/tmp/x", "a.raw"]),
    (1, true, &["-b", "127.0.0.1", "a.raw"]),
    (1, true, &["-p", "1", "a.raw"]),
    (1, true, &["-c", "/dev/nbd0", "a.raw"]),
    (1, true, &["--selinux-label", "x", "a.raw"]),
    (1, true, &["-L"]),
    (1, false, &["-f", "raw", "a.raw"]),
    (2, true, &["-f", "raw", "a.raw"]),
    (3, true, &["-k", "/tmp/x", "a.raw"]),
];

/// In the background: the words, and whether it comes to serving.
const FORKED: &[(&[&str], bool)] = &[
    (&["--fork", "-f", "raw", "a.raw"], true),
    (&["--fork", "--pid-file", "PID", "-f", "raw", "a.raw"], true),
    (
        &["--fork", "--pid-file=PID", "-r", "-e", "3", "a.qcow2"],
        true,
    ),
    (&["--fork", "-v", "-f", "raw", "a.raw"], true),
    (&["--fork", "a.raw"], true),
    (
        &[
            "--fork",
            "--pid-file",
            "/no/such/dir/p",
            "-f",
            "raw",
            "a.raw",
        ],
        false,
    ),
    (
        &["--pid-file", "/no/such/dir/p", "-f", "raw", "a.raw"],
        false,
    ),
    (&["--fork", "-f", "bogus", "a.raw"], false),
    (&["--fork", "-B", "none", "a.qcow2"], false),
];

/// The files that servers are run on, made once.
fn template() -> Result<&'static Scratch, String> {
    static MADE: OnceLock<Result<Scratch, String>> = OnceLock::new();
    MADE.get_or_init(make).as_ref().map_err(Clone::clone)
}

/// A folder with the same files for each tool.
fn folder() -> Result<Scratch, String> {
    let (from, to) = (template()?, Scratch::new());
    for name in ["a.raw", "a.qcow2", "odd.raw", "empty.raw"] {
        let bytes = std::fs::read(from.path(name)).map_err(|e| e.to_string())?;
        std::fs::write(to.path(name), bytes).map_err(|e| e.to_string())?;
    }
    Ok(to)
}

fn make() -> Result<Scratch, String> {
    let scratch = Scratch::new();
    let (img, io) = (reference()?, qemu_io()?);
    for words in [
        "create -q -f raw a.raw 8M",
        "create -q -f qcow2 a.qcow2 8M",
        "bitmap --add a.qcow2 bm",
        "bitmap --add --disable a.qcow2 off",
        "snapshot -c snap a.qcow2",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        img.run(scratch.dir(), &words).ok();
    }
    io.run(scratch.dir(), &["-c", "write -P 1 1M 64k", "a.qcow2"])
        .ok();
    for (name, size) in [("odd.raw", 1000), ("empty.raw", 0)] {
        std::fs::write(scratch.path(name), vec![1; size]).map_err(|e| e.to_string())?;
    }
    Ok(scratch)
}

/// A server that was started, with its streams in files.
struct Run {
    child: Child,
    scratch: Scratch,
    tool: Tool,
}

impl Run {
    fn start(mut command: Command, scratch: Scratch, tool: &Tool) -> Self {
        let file = |name| std::fs::File::create(scratch.path(name)).expect("a file");
        let child = command
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("it starts");
        Self {
            child,
            scratch,
            tool: tool.clone(),
        }
    }

    /// One that listens on the socket `s`, if it comes to that.
    fn listening(tool: &Tool, scratch: Scratch, options: &[&str]) -> Self {
        let socket = scratch.path("s").to_string_lossy().into_owned();
        let mut words = vec!["-k", &socket];
        words.extend(options);
        let mut command = tool.command(scratch.dir(), &words);
        command.stdin(Stdio::null());
        Self::start(command, scratch, tool)
    }

    fn socket(&self) -> PathBuf {
        self.scratch.path("s")
    }

    /// A client that chose the export, once the server runs.
    fn client(&self) -> Option<UnixStream> {
        until(PATIENCE, || UnixStream::connect(self.socket()).ok()).and_then(choose)
    }

    /// Its exit code, if it ends soon. A server that does not is told to.
    fn end(&mut self, patience: Duration) -> String {
        let ended = until(patience, || self.child.try_wait().expect("it can be asked"));
        if let Some(status) = ended {
            return format!("ended: {:?}", status.code());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        format!("told to end: {:?}", status.code())
    }

    /// All that it said, with names that differ by place made equal.
    fn said(&self) -> String {
        let read = |name| std::fs::read_to_string(self.scratch.path(name)).unwrap_or_default();
        normalise(&format!("{}---\n{}", read("stdout"), read("stderr")))
            .replace(&*self.tool.path.to_string_lossy(), "TOOL")
            .replace(&*self.scratch.dir().to_string_lossy(), "DIR")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Chooses the export without a name by `EXPORT_NAME`, after which the server counts a client.
fn choose(mut stream: UnixStream) -> Option<UnixStream> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let export = nbd::client::handshake(&mut stream, b"").ok()?;
    (export.size > 0).then_some(stream)
}

/// Runs a table on both tools; every row's story must be the same.
fn compare<T: std::fmt::Debug>(rows: &[T], story: impl Fn(&Tool, &T) -> Result<String, String>) {
    let theirs = require!(qemu_nbd());
    let mut wrong = Vec::new();
    for row in rows {
        let (want, got) = (story(&theirs, row), story(&our_nbd(), row));
        let (want, got) = (require!(want), require!(got));
        if want != got {
            wrong.push(format!("{row:?}\n- {want}\n+ {got}"));
        }
    }
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} differ\n{}", wrong.join("\n\n"));
}

#[test]
fn what_is_served_is_listed_alike() {
    compare(SERVED, |tool, options| {
        let mut words = vec!["-t"];
        words.extend(*options);
        let mut run = Run::listening(tool, folder()?, &words);
        until(PATIENCE, || {
            let ended = run.child.try_wait().expect("it can be asked");
            (ended.is_some() || UnixStream::connect(run.socket()).is_ok()).then_some(())
        });
        let socket = run.socket().to_string_lossy().into_owned();
        let mut story = String::new();
        for lister in [qemu_nbd()?, our_nbd()] {
            let listed = lister.run(run.scratch.dir(), &["-L", "-k", &socket]);
            story += &format!("{:?} {}{}\n", listed.code, listed.stdout, listed.stderr);
        }
        if *options == ["a.raw"] {
            // The reference asks for whole sectors of a raw disk that it guessed; ours takes bytes there too.
            story = story.replace("  min block: 512\n", "  min block: 1\n");
        }
        story = story.replace(&*run.scratch.dir().to_string_lossy(), "DIR");
        story += &run.end(Duration::ZERO);
        Ok(story + "\n" + &run.said())
    });
}

#[test]
fn servers_end_alike() {
    compare(LIVES, |tool, (options, events)| {
        let mut words = options.to_vec();
        words.extend(["-f", "raw", "a.raw"]);
        let mut run = Run::listening(tool, folder()?, &words);
        let mut clients = Vec::new();
        let mut story = String::new();
        for event in *events {
            match event {
                Event::Come => match run.client() {
                    Some(client) => clients.push(client),
                    None => story += "not served\n",
                },
                Event::Leave => drop(clients.remove(0)),
                Event::Peek => {
                    drop(until(PATIENCE, || UnixStream::connect(run.socket()).ok()));
                }
                Event::Signal(signal) => {
                    // The reference handles signals only once it serves.
                    std::thread::sleep(Duration::from_millis(300));
                    kill_process(Pid::from_child(&run.child), *signal).expect("it runs");
                }
            }
        }
        story += &run.end(Duration::from_secs(1));
        story += &format!("\nsocket is left: {}\n", run.socket().exists());
        Ok(story + &run.said())
    });
}

#[test]
fn sockets_of_systemd_are_taken_alike() {
    compare(ACTIVATED, |tool, (count, is_socket, options)| {
        let scratch = folder()?;
        let listener = UnixListener::bind(scratch.path("s")).map_err(|e| e.to_string())?;
        let third = if *is_socket {
            Stdio::from(OwnedFd::from(listener))
        } else {
            Stdio::from(std::fs::File::open(scratch.path("a.raw")).map_err(|e| e.to_string())?)
        };
        let shell = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$@\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", shell, "sh"])
            .arg(&tool.path)
            .args(*options)
            .current_dir(scratch.dir())
            .env("LISTEN_FDS", count.to_string())
            .stdin(third);
        let mut run = Run::start(command, scratch, tool);
        let mut story = String::new();
        if *is_socket && *count == 1 && options.contains(&"raw") && options.contains(&"a.raw") {
            let served = run.client().is_some();
            story = format!("served: {served}\n");
        }
        let patience = if options.contains(&"-t") {
            Duration::from_millis(300)
        } else {
            PATIENCE
        };
        story += &run.end(patience);
        Ok(story + "\n" + &run.said())
    });
}

#[test]
fn the_background_is_reached_alike() {
    compare(FORKED, |tool, (options, serves)| {
        let scratch = folder()?;
        let pid_file = scratch.path("pid").to_string_lossy().into_owned();
        let words: Vec<String> = options
            .iter()
            .map(|w| w.replace("PID", &pid_file))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut run = Run::listening(tool, scratch, &words);
        let mut story = run.end(PATIENCE);
        if *serves {
            // Once the parent has ended, the server listens.
            let pid = std::fs::read_to_string(&pid_file).ok();
            if let Some(pid) = &pid {
                let number = pid.strip_suffix('\n').and_then(|n| n.parse::<u32>().ok());
                let alive = number.is_some_and(|n| PathBuf::from(format!("/proc/{n}")).exists());
                story += &format!("\npid file: {alive}");
            }
            let client = UnixStream::connect(run.socket()).ok().and_then(choose);
            story += &format!("\nserved: {}", client.is_some());
            drop(client);
            until(PATIENCE, || (!run.socket().exists()).then_some(()));
        }
        Ok(story + "\n" + &run.said())
    });
}

/// The reference does not tell systemd; ours tells when it serves and when it ends.
#[test]
fn systemd_is_told() {
    let scratch = require!(folder());
    let socket = UnixDatagram::bind(scratch.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let listen = scratch.path("s").to_string_lossy().into_owned();
    let tool = our_nbd();
    let mut command = tool.command(scratch.dir(), &["-t", "-k", &listen, "-f", "raw", "a.raw"]);
    command.env("NOTIFY_SOCKET", scratch.path("notify"));
    let mut run = Run::start(command, scratch, &tool);
    let hear = || {
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).expect("a state");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    };
    assert_eq!(hear(), "READY=1");
    assert!(run.client().is_some());
    kill_process(Pid::from_child(&run.child), Signal::TERM).expect("it runs");
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(run.end(PATIENCE), "ended: Some(0)");
}
