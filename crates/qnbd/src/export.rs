//! What clients are served.

use qapi::{Error, Result};

use crate::disk::Disk;
use crate::door::Connection;
use crate::settings::Settings;

/// How far a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It never chose the export.
    Refused,
    /// It could send requests.
    Negotiated,
}

/// The one export of this server.
#[derive(Clone)]
pub(crate) struct Export {}

impl Export {
    /// Makes it.
    ///
    /// # Errors
    /// When a bitmap is not there, or credentials are not usable.
    pub(crate) fn new(_settings: &Settings, _disk: &Disk) -> Result<Self> {
        // GAP: the server behind the protocol's messages; nothing is served yet.
        Err(Error::new("serving is not supported yet"))
    }

    /// Serves one client to its end.
    pub(crate) async fn serve(&self, _connection: Connection) -> Served {
        Served::Refused
    }

    /// Clients are to end as soon as their requests under way are done.
    pub(crate) fn stop(&self) {}
}
