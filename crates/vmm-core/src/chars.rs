//! The character devices of a program: opened from options, taken by devices and monitors, listened to once all are
//! attached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backend_core::chars::{Null, Sink};
use char_backends::mux::{self, Host, Mux, Receiver};
use char_backends::{Name, Port, Ring, Spec};
use qapi::{Error, Result};

/// A character device.
struct Chardev {
    row: Arc<Row>,
    port: Port,
    mux: Option<Mux>,
    /// A front has it.
    taken: bool,
    receivers: Vec<Arc<dyn Receiver>>,
}

/// What is known of a character device while the program runs.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) name: Name,
    /// The ring, if it is one.
    pub(crate) ring: Option<Ring>,
    attached: AtomicBool,
    mux: bool,
}

impl Row {
    /// A device or a monitor has it.
    pub(crate) fn attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    /// What it is called now.
    pub(crate) fn filename(&self) -> String {
        if self.mux {
            "mux".to_owned()
        } else {
            self.name.text()
        }
    }
}

/// All of them, while the machine is being put together.
pub(crate) struct Chars {
    all: Vec<Chardev>,
    escape: u8,
    stdio: bool,
}

impl Chars {
    /// None; multiplexers listen to keys behind `escape`.
    pub(crate) fn new(escape: u8) -> Self {
        Self {
            all: Vec::new(),
            escape,
            stdio: false,
        }
    }

    /// Opens one more. `option` is how the user asked for it, for what is told meanwhile.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(crate) fn open(&mut self, spec: &Spec, label: &str, option: &str) -> Result<()> {
        if self.find(label).is_some() {
            return Err(Error::new(format!("Duplicate ID '{label}' for chardev")));
        }
        if spec.uses_stdio() && std::mem::replace(&mut self.stdio, true) {
            return Err(Error::new("cannot use stdio by multiple character devices"));
        }
        let told = |text: &str| qapi::tell(&format!("{option}: {text}"));
        let mut port = char_backends::open(spec, label, &told)?;
        if let Some(notice) = port.notice.take() {
            println!("{notice}");
        }
        let mux = spec.mux.then(|| {
            let sink = std::mem::replace(&mut port.sink, Box::new(Null));
            Mux::new(sink, self.escape)
        });
        let row = Row {
            label: label.to_owned(),
            name: port.name.clone(),
            ring: port.ring.clone(),
            attached: AtomicBool::new(false),
            mux: spec.mux,
        };
        self.all.push(Chardev {
            row: Arc::new(row),
            port,
            mux,
            taken: false,
            receivers: Vec::new(),
        });
        Ok(())
    }

    fn find(&mut self, label: &str) -> Option<&mut Chardev> {
        self.all.iter_mut().find(|c| c.row.label == label)
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, label: &str) -> bool {
        self.all.iter().any(|c| c.row.label == label)
    }

    /// Whether several may have it.
    pub(crate) fn is_shared(&self, label: &str) -> bool {
        let found = self.all.iter().find(|c| c.row.label == label);
        found.is_some_and(|c| c.mux.is_some())
    }

    /// The way out, for one more front; `None` when there is no such device, or somebody else has it.
    pub(crate) fn front(&mut self, label: &str) -> Option<Box<dyn Sink>> {
        let found = self.find(label)?;
        found.row.attached.store(true, Ordering::Release);
        match &found.mux {
            Some(mux) => Some(mux.front()),
            None if std::mem::replace(&mut found.taken, true) => None,
            None => Some(std::mem::replace(&mut found.port.sink, Box::new(Null))),
        }
    }

    /// Gives what comes in to one more front.
    pub(crate) fn listen(&mut self, label: &str, receiver: Arc<dyn Receiver>) {
        if let Some(found) = self.find(label) {
            found.receivers.push(receiver);
        }
    }

    /// What is known of them.
    pub(crate) fn rows(&self) -> Vec<Arc<Row>> {
        self.all.iter().map(|c| Arc::clone(&c.row)).collect()
    }

    /// Starts a thread over each that has something to say.
    ///
    /// # Errors
    /// The host gives no thread.
    pub(crate) fn start(self, host: &Arc<dyn Host>) -> Result<()> {
        for chardev in self.all {
            let Chardev {
                mut port,
                mux,
                receivers,
                ..
            } = chardev;
            let Some(mut source) = port.source.take() else {
                continue;
            };
            let host = Arc::clone(host);
            let run = move || match mux {
                Some(mux) => mux.run(source.as_mut(), &receivers, host.as_ref()),
                None => {
                    if let Some(receiver) = receivers.first() {
                        mux::run_plain(source.as_mut(), receiver.as_ref());
                    }
                }
            };
            let thread = std::thread::Builder::new().name("chardev".to_owned());
            let spawned = thread.spawn(run);
            spawned.map_err(|error| Error::from_io("threads", &error))?;
        }
        Ok(())
    }
}
