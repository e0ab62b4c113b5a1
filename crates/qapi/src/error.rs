//! The one error value a user sees: QMP class, message, optional hint lines and the errno behind it.
//!
//! Libraries make the message where the user's own name (file, node, option) is known; upper layers
//! only prefix it. A tool prints it as `PROG: message`, then the hint lines as they are.

use std::fmt;
use std::io;

/// The QMP error classes of QEMU 10.0 (`qapi/error.json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Everything that has no class of its own.
    GenericError,
    /// The named device is not there.
    DeviceNotFound,
    /// The device exists and cannot be used now.
    DeviceNotActive,
    /// No such command.
    CommandNotFound,
    /// KVM is needed.
    KvmMissingCap,
}

/// A message for the user, made once and only prefixed afterwards.
#[derive(Debug, Clone)]
pub struct Error {
    class: ErrorClass,
    message: String,
    hint: Option<String>,
    errno: Option<i32>,
}

/// Result of everything that a user's words can make fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A generic error with this message (one line, no full stop, no program name).
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::GenericError,
            message: message.into(),
            hint: None,
            errno: None,
        }
    }

    /// `message: strerror(errno)`, remembering errno (positive).
    pub fn with_errno(message: impl fmt::Display, errno: i32) -> Self {
        let mut error = Self::new(format!("{message}: {}", strerror(errno)));
        error.errno = Some(errno);
        error
    }

    /// `message: strerror`, from an I/O error.
    pub fn from_io(message: impl fmt::Display, source: &io::Error) -> Self {
        match source.raw_os_error() {
            Some(errno) => Self::with_errno(message, errno),
            None => Self::new(format!("{message}: {source}")),
        }
    }

    /// The same error with this class.
    #[must_use]
    pub fn class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    /// The same error with hint lines (printed after the message, each on its own line).
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error remembering an errno (positive) that callers may act on.
    #[must_use]
    pub fn errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self
    }

    /// The same error, its message prefixed by `prefix` as it stands (include `: ` yourself).
    #[must_use]
    pub fn prefix(mut self, prefix: impl fmt::Display) -> Self {
        self.message = format!("{prefix}{}", self.message);
        self
    }

    /// The same error about a file that its user knows by another name.
    #[must_use]
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        self.message = self.message.replace(from, to);
        self.hint = self.hint.map(|hint| hint.replace(from, to));
        self
    }

    /// The message without hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Hint lines, if any.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The QMP class.
    pub fn error_class(&self) -> ErrorClass {
        self.class
    }

    /// The errno behind it, if one is known.
    pub fn errno_value(&self) -> Option<i32> {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The C library's words for an errno, without Rust's ` (os error N)`.
pub fn strerror(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
