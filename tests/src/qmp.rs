//! A client of QMP: starts a system emulator with a monitor on a socket, asks, and listens to events.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::tools::Scratch;

/// How long an emulator may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// An emulator and a conversation with it.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    stream: BufReader<UnixStream>,
    /// What it said first.
    pub greeting: Value,
    /// What it told unasked so far: names and data.
    pub events: Vec<(String, Value)>,
    said: PathBuf,
    scratch: Scratch,
}

impl Machine {
    /// Starts `program` with these options and a monitor, in `dir`, and negotiates.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start(program: &Path, options: &[&str], dir: &Path) -> Self {
        let scratch = Scratch::new();
        let (socket, said) = (scratch.path("qmp"), scratch.path("said"));
        let monitor = format!("unix:{},server=on,wait=off", socket.display());
        let mut child = Command::new(program)
            .args(options)
            .args(["-qmp", &monitor])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).expect("the scratch folder can be written"))
            .spawn()
            .expect("an emulator can be started");
        let start = Instant::now();
        let stream = loop {
            if let Ok(stream) = UnixStream::connect(&socket) {
                break stream;
            }
            let ended = child.try_wait().expect("a child can be asked");
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "{} {options:?} does not listen ({ended:?}): {text}",
                program.display()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket takes a limit");
        let mut machine = Self {
            child,
            stream: BufReader::new(stream),
            greeting: Value::Null,
            events: Vec::new(),
            said,
            scratch,
        };
        machine.greeting = machine.message();
        machine.ok("qmp_capabilities", &json!({}));
        machine
    }

    /// The next message.
    fn message(&mut self) -> Value {
        let mut line = String::new();
        let heard = self.stream.read_line(&mut line);
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        assert!(
            matches!(heard, Ok(1..)),
            "the conversation ended: {heard:?} {text}"
        );
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"))
    }

    /// Sends a command; gives the whole answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        let mut request = json!({"execute": command});
        if arguments.as_object().is_none_or(|given| !given.is_empty()) {
            request["arguments"] = arguments.clone();
        }
        // In one piece: who is asked to quit is gone when the closing brace has come.
        let line = format!("{request}\n");
        if let Err(error) = self.stream.get_mut().write_all(line.as_bytes()) {
            let said = std::fs::read_to_string(&self.said).unwrap_or_default();
            let ended = self.child.try_wait();
            panic!("{request} cannot be sent ({error}, {ended:?}): {said}");
        }
        loop {
            let mut answer = self.message();
            if let Some(name) = answer.get("event").and_then(Value::as_str) {
                self.events.push((name.to_owned(), answer["data"].take()));
                continue;
            }
            return answer;
        }
    }

    /// Sends a command that must go well; gives what it returns.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn ok(&mut self, command: &str, arguments: &Value) -> Value {
        let mut answer = self.ask(command, arguments);
        assert!(answer.get("return").is_some(), "{command}: {answer}");
        answer["return"].take()
    }

    /// What a line of the human monitor prints, with plain line ends.
    ///
    /// # Panics
    /// When it is no text.
    #[track_caller]
    pub fn human(&mut self, line: &str) -> String {
        let said = self.ok("human-monitor-command", &json!({"command-line": line}));
        let said = said.as_str().expect("the human monitor prints text");
        said.replace("\r\n", "\n")
    }

    /// Waits for an event of this name; gives its data.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            if let Some(at) = self.events.iter().position(|(known, _)| known == name) {
                return self.events.remove(at).1;
            }
            let mut message = self.message();
            if let Some(name) = message.get("event").and_then(Value::as_str) {
                self.events.push((name.to_owned(), message["data"].take()));
            }
        }
    }

    /// Quits; gives the exit code and what went to standard error.
    ///
    /// # Panics
    /// When it does not end.
    pub fn quit(mut self) -> (Option<i32>, String) {
        self.ok("quit", &json!({}));
        let code = self.child.wait().expect("a child can be waited for").code();
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        (code, text)
    }

    /// A folder that lives as long as the machine.
    pub fn dir(&self) -> &Path {
        self.scratch.dir()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
