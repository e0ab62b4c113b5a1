//! A machine that a test talks with over its console: it waits for words and types.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A program whose standard streams are the console; it is killed when this is dropped.
#[derive(Debug)]
pub struct Console {
    child: Child,
    keys: ChildStdin,
    said: Arc<Mutex<Vec<u8>>>,
    /// What was heard already.
    heard: usize,
}

impl Console {
    /// Starts a program.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = Arc::default();
        follow(child.stdout.take().expect("a pipe"), &said);
        follow(child.stderr.take().expect("a pipe"), &said);
        Self {
            keys: child.stdin.take().expect("a pipe"),
            child,
            said,
            heard: 0,
        }
    }

    /// Everything that was said so far.
    pub fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).replace('\r', "")
    }

    /// Waits until `wanted` was said, behind what was heard before.
    ///
    /// # Panics
    /// With all that was said, when it is not said in time, or the program ends before.
    #[track_caller]
    pub fn hear(&mut self, wanted: &str, time: Duration) {
        let start = Instant::now();
        loop {
            let over = self.child.try_wait().expect("a child can be waited for");
            if self.next(wanted) {
                return;
            }
            let late = start.elapsed() > time;
            assert!(
                !late && over.is_none(),
                "no '{wanted}' ({over:?}) in: {}",
                self.said()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn next(&mut self, wanted: &str) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = &said[self.heard..];
        let found = fresh
            .windows(wanted.len())
            .position(|w| w == wanted.as_bytes());
        if let Some(at) = found {
            self.heard += at + wanted.len();
        }
        found.is_some()
    }

    /// Types.
    ///
    /// # Panics
    /// When the program no longer reads.
    pub fn enter(&mut self, text: &str) {
        let typed = self.keys.write_all(text.as_bytes());
        typed.and_then(|()| self.keys.flush()).expect("it reads");
    }

    /// Waits for the end; gives the exit code.
    ///
    /// # Panics
    /// With all that was said, when it does not end in time or is ended by a signal.
    #[track_caller]
    pub fn code(&mut self, time: Duration) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code().unwrap_or_else(|| panic!("{status}"));
            }
            assert!(start.elapsed() < time, "no end: {}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the program as a crash of the host would, at once.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        // It may have ended in between.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects what a stream brings, from a thread of its own that ends with the stream.
fn follow(mut stream: impl Read + Send + 'static, said: &Arc<Mutex<Vec<u8>>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(bytes) = stream.read(&mut buffer) {
            if bytes == 0 {
                break;
            }
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend(&buffer[..bytes]);
        }
    });
}
