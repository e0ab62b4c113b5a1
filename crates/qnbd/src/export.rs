//! What clients are served.

use std::sync::Arc;
use std::time::Duration;

use block_export::{Bitmap, Export, Outcome, Server, Tls};
use crypto::authz::Authorization;
use qapi::{Error, Result};
use tokio::sync::watch;

use crate::disk::Disk;
use crate::door::Connection;
use crate::settings::Settings;

/// The one export of this server, for all its clients.
#[derive(Clone)]
pub(crate) struct Exported {
    server: Arc<Server>,
    stop: Arc<watch::Sender<bool>>,
}

impl Exported {
    /// Makes it.
    ///
    /// # Errors
    /// When a bitmap is not there, or credentials are not usable.
    pub(crate) async fn new(settings: &Settings, disk: &Disk) -> Result<Self> {
        let tls = tls(settings)?;
        let writable = !settings.read_only;
        let mut bitmaps = Vec::new();
        for name in &settings.bitmaps {
            bitmaps.push(Bitmap::find(&disk.root, name, writable).await?);
        }
        let export = Export {
            name: settings.export_name.clone().unwrap_or_default(),
            description: settings.description.clone(),
            root: Arc::clone(&disk.root),
            writable,
            shared: settings.shared != 1,
            allocation_depth: settings.allocation_depth,
            bitmaps,
        };
        let (stop, stopped) = watch::channel(false);
        let limit = u64::from(settings.handshake_limit_s);
        Ok(Self {
            server: Arc::new(Server {
                exports: vec![Arc::new(export)],
                handshake_limit: (limit > 0).then(|| Duration::from_secs(limit)),
                tls,
                stop: stopped,
            }),
            stop: Arc::new(stop),
        })
    }

    /// Serves one client to its end.
    pub(crate) async fn serve(&self, connection: Connection) -> Outcome {
        match connection {
            Connection::Unix(stream) => self.server.serve(stream).await,
            Connection::Tcp(stream) => self.server.serve(stream).await,
        }
    }

    /// Clients are to end as soon as their requests under way are done.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// What clients must prove, if anything.
fn tls(settings: &Settings) -> Result<Option<Tls>> {
    let Some(creds) = &settings.tls else {
        return Ok(None);
    };
    let authz = match &settings.tls_authz {
        None => None,
        Some(id) => {
            let object = settings.objects.find(id);
            let object = object
                .ok_or_else(|| Error::new(format!("No authorization object with id '{id}'")))?;
            Some(object.downcast::<Authorization>().map_err(|_| {
                Error::new(format!("Object with id '{id}' is not an authorization"))
            })?)
        }
    };
    Ok(Some(Tls {
        creds: Arc::clone(creds),
        authz,
    }))
}
