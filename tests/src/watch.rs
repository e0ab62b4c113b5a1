//! Who opens a file: a watch that tells whether it was opened since.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify;

/// A watch over one file.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// Starts to watch.
    ///
    /// # Panics
    /// When the kernel cannot.
    pub fn new(path: &Path) -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let fd = inotify::init(flags).expect("the kernel has inotify");
        inotify::add_watch(&fd, path, inotify::WatchFlags::OPEN).expect("the file is there");
        Self(fd)
    }

    /// Whether it has been opened since the last call.
    pub fn opened(&self) -> bool {
        let mut buf = [MaybeUninit::uninit(); 4096];
        inotify::Reader::new(&self.0, &mut buf).next().is_ok()
    }
}
