//! Monitors on character devices: bytes in, answers out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_core::chars::Sink;
use char_backends::mux::Receiver;
use monitor_core::Session;
use monitor_core::hmp::{Editor, columns};
use qapi::Dict;

use super::human::{HMP, Seat};
use super::{REGISTRY, Vm};

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A monitor that speaks QMP.
pub(crate) struct Qmp {
    vm: Arc<Vm>,
    session: Mutex<Session>,
    /// Apart from the session, which is held while a command runs.
    out: Mutex<Box<dyn Sink>>,
    pretty: bool,
    listens: AtomicBool,
}

impl Qmp {
    /// One that answers on `out`; it hears events once its client has negotiated.
    pub(crate) fn new(vm: Arc<Vm>, out: Box<dyn Sink>, pretty: bool) -> Arc<Self> {
        let qmp = Arc::new(Self {
            vm,
            session: Mutex::new(Session::new(pretty)),
            out: Mutex::new(out),
            pretty,
            listens: AtomicBool::new(false),
        });
        qmp.vm.events.add(&qmp);
        qmp
    }

    fn send(&self, text: &str) {
        locked(&self.out).send(text.as_bytes());
    }

    /// Tells an event, if the client is ready for some.
    pub(super) fn tell(&self, message: Dict) {
        if self.listens.load(Ordering::Acquire) {
            self.send(&monitor_core::message(message, self.pretty));
        }
    }
}

impl Receiver for Qmp {
    fn receive(&self, bytes: &[u8]) {
        let mut session = locked(&self.session);
        for request in session.feed(bytes) {
            let answer = session.answer(&REGISTRY, self.vm.as_ref(), request);
            let Some(text) = self.vm.disks.wait(answer) else {
                return;
            };
            self.send(&text);
            self.listens
                .store(session.wants_events(), Ordering::Release);
            self.vm.answered();
        }
    }

    fn peer(&self, there: bool) {
        let mut session = locked(&self.session);
        self.listens.store(false, Ordering::Release);
        *session = Session::new(self.pretty);
        if there {
            let greeting = session.greeting(&REGISTRY);
            self.send(&greeting);
        }
    }
}

const PROMPT: &str = "(qemu) ";
const BANNER: &str = "QEMU 10.0.2 monitor - type 'help' for more information\n";

/// A monitor that speaks with people.
pub(crate) struct Human {
    seat: Seat,
    inner: Mutex<Inner>,
}

struct Inner {
    out: Box<dyn Sink>,
    greeted: bool,
}

impl Inner {
    fn show(&mut self, text: &str) {
        self.out.send(text.replace('\n', "\r\n").as_bytes());
    }
}

impl Human {
    /// One that answers on `out`.
    pub(crate) fn new(vm: Arc<Vm>, out: Box<dyn Sink>) -> Arc<Self> {
        Arc::new(Self {
            seat: Seat::new(vm),
            inner: Mutex::new(Inner {
                out,
                greeted: false,
            }),
        })
    }

    fn typed(&self, byte: u8) {
        let step = self.seat.editor().typed(byte);
        let mut inner = locked(&self.inner);
        inner.show(&step.shown);
        if let Some(before) = step.complete {
            inner.show(&complete(&mut self.seat.editor(), &before));
        }
        let Some(line) = step.line else { return };
        drop(inner);
        let run = HMP.run(&self.seat, &line);
        let said = self.seat.vm.disks.wait(run).unwrap_or_default();
        let mut inner = locked(&self.inner);
        inner.show(&said);
        if !self.seat.quits() {
            inner.show(PROMPT);
        }
        drop(inner);
        self.seat.vm.answered();
    }
}

/// Completes what stands before the cursor: the rest where there is one way to go on, else the ways. Gives what is to be
/// shown.
fn complete(editor: &mut Editor, before: &str) -> String {
    let found = HMP.complete(before);
    let word = before.rsplit(char::is_whitespace).next().unwrap_or("");
    let Some(first) = found.first() else {
        return String::new();
    };
    let common = found.iter().fold(first.len(), |most, other| {
        let same = first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
        most.min(same.count())
    });
    let rest = first.get(word.len()..common).unwrap_or("").to_owned();
    let mut shown = editor.insert(&rest);
    if found.len() == 1 {
        shown.push_str(&editor.insert(" "));
    } else {
        shown.push('\n');
        shown.push_str(&columns(&found));
        shown.push_str(&editor.redraw(PROMPT));
    }
    shown
}

impl Receiver for Human {
    fn receive(&self, bytes: &[u8]) {
        for byte in bytes {
            self.typed(*byte);
        }
    }

    fn peer(&self, there: bool) {
        if !there {
            return;
        }
        self.seat.editor().restart();
        locked(&self.inner).greeted = false;
    }

    fn focus(&self, on: bool) {
        let mut inner = locked(&self.inner);
        if !on {
            inner.show("\n");
            return;
        }
        if !std::mem::replace(&mut inner.greeted, true) {
            inner.show(BANNER);
        }
        inner.show(PROMPT);
    }
}
