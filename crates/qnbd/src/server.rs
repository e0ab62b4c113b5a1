//! The server's life: listen, open the disk, attach it to the kernel if asked, serve until there is nobody left or a
//! signal comes, write everything back.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::process::ExitCode;
use std::sync::Arc;

use block_export::Outcome;
use block_protocols::nbd::handshake::Client;
use qapi::{Error, Result, out};
use reactor::Signal;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::daemon::{self, Background, Place};
use crate::disk::{self, Disk};
use crate::door::{Connection, Door};
use crate::export::Exported;
use crate::kernel::attach::{self, AUTO, Attached};
use crate::listen;
use crate::notify::notify;
use crate::settings::Settings;

/// Serves until the end. In the background if asked: then the caller is told once it runs.
///
/// # Errors
/// In QEMU's words, whatever keeps it from running.
pub(crate) fn run(settings: Settings, activated: bool) -> Result<ExitCode> {
    let mut background = None;
    if settings.fork || (settings.device.is_some() && !settings.verbose) {
        match daemon::fork(settings.verbose)? {
            Place::Parent(code) => return Ok(code),
            Place::Server(server) => background = Some(server),
        }
    }
    tool_cli::trace::start(&settings.trace)?;
    reactor::block_on(serve(settings, activated, background))
        .map_err(|e| Error::from_io("Could not start", &e))?
}

fn listen(settings: &Settings) -> Result<Door> {
    let label = settings.selinux_label.as_deref();
    if let Some(label) = label {
        listen::set_label(Some(label)).map_err(|e| {
            Error::from_io(
                format!("Cannot set SELinux socket create context to {label}"),
                &e,
            )
        })?;
    }
    let address = listen::address(
        settings.socket.as_deref(),
        settings.bind.as_deref(),
        settings.port.as_deref(),
    );
    let door = Door::new(listen::listen(&address)?, settings.socket.clone());
    if label.is_some() {
        listen::set_label(None)
            .map_err(|e| Error::from_io("Cannot clear SELinux socket create context", &e))?;
    }
    Ok(door)
}

/// What must be taken back at the end.
struct PidFile {
    path: std::path::PathBuf,
    /// Keeps its lock.
    _file: File,
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the pid file stays");
        }
    }
}

async fn serve(
    settings: Settings,
    activated: bool,
    background: Option<Background>,
) -> Result<ExitCode> {
    let stop = Arc::new(Notify::new());
    for signal in [Signal::Terminate, Signal::Interrupt, Signal::Hangup] {
        let stop = Arc::clone(&stop);
        reactor::on_signal(signal, move || stop.notify_one())
            .map_err(|e| Error::from_io("Could not handle signals", &e))?;
    }
    // Only now: whoever sees the socket may send a signal.
    let door = if activated {
        Door::new(listen::activated()?, None)
    } else {
        listen(&settings)?
    };
    let mut door = door.open()?;
    let disk = disk::open(&settings).await?;
    let export = Exported::new(&settings, &disk).await?;
    let mut clients = Clients::new(export, &settings);
    let mut background = background;
    let attached = match &settings.device {
        Some(device) => {
            let attached = clients.attach(device, &settings).await?;
            announce(&attached, &settings, background.as_ref());
            Some(attached)
        }
        None => None,
    };
    let _pid_file = match &settings.pid_file {
        Some(path) => Some(PidFile {
            path: std::path::absolute(path).unwrap_or_else(|_| path.into()),
            _file: daemon::write_pid_file(path)?,
        }),
        None => None,
    };
    std::env::set_current_dir("/")
        .map_err(|e| Error::from_io("Could not chdir to root directory", &e))?;
    if let Some(background) = background.take() {
        background.release()?;
    }
    notify("READY=1");
    let end = clients.run(&mut door, &stop).await;
    notify("STOPPING=1");
    door.close();
    let detached = leave(attached, end).await;
    clients.close().await;
    finish(disk).await?;
    match detached {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Error::from_io("The device ended badly", &error)),
    }
}

/// Tells which device it became: to whoever asked for any, and with `-v`.
fn announce(attached: &Attached, settings: &Settings, background: Option<&Background>) {
    if settings.device.as_deref() == Some(AUTO) {
        match background {
            Some(background) => {
                if let Err(error) = background.tell(&attached.device) {
                    tracing::debug!(%error, "nobody wants to know the device");
                }
            }
            None => {
                out::line(&attached.device);
                out::flush();
            }
        }
    }
    if settings.verbose && !settings.fork {
        eprintln!(
            "NBD device {} is now connected to {}",
            attached.device, settings.file
        );
    }
}

/// Lets go of the kernel's device, from whichever side the end came.
async fn leave(attached: Option<Attached>, end: End) -> std::io::Result<()> {
    let Some(attached) = attached else {
        return Ok(());
    };
    // The kernel writes back through this very server, so its tasks must go on meanwhile.
    tokio::task::block_in_place(|| match end {
        End::KernelLeft => attached.ended(),
        End::Told => attached.detach(),
    })
}

/// Everything is on stable storage after.
async fn finish(disk: Disk) -> Result<()> {
    let flushed = if disk.root.node().read_only() {
        Ok(())
    } else {
        disk.root.flush().await
    };
    let drained = disk.root.drain().await;
    let closed = disk.root.node().close().await;
    drop(drained);
    flushed.map_err(|e| Error::from_io("Could not write the disk back", &e))?;
    closed
}

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By a signal, or the last client left.
    Told,
    /// The kernel's connection broke or said good-bye.
    KernelLeft,
}

/// One client less.
struct Left {
    outcome: Outcome,
    kernel: bool,
}

/// All clients.
struct Clients {
    export: Exported,
    tasks: JoinSet<Left>,
    /// 0: any number.
    most: usize,
    persistent: bool,
}

impl Clients {
    fn new(export: Exported, settings: &Settings) -> Self {
        Self {
            export,
            tasks: JoinSet::new(),
            most: usize::try_from(settings.shared).unwrap_or(usize::MAX),
            persistent: settings.persistent,
        }
    }

    fn add(&mut self, connection: Connection, kernel: bool) {
        let export = self.export.clone();
        self.tasks.spawn(async move {
            let outcome = export.serve(connection).await;
            Left { outcome, kernel }
        });
    }

    /// Gives the kernel a connection of its own.
    async fn attach(&mut self, device: &str, settings: &Settings) -> Result<Attached> {
        let failed = |e: std::io::Error| Error::from_io("Could not make a connection", &e);
        let (ours, theirs) = Pair::pair().map_err(failed)?;
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).map_err(failed)?;
        }
        let ours = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
        self.add(Connection::Unix(ours), true);
        let theirs = tokio::net::UnixStream::from_std(theirs).map_err(failed)?;
        let mut client = Client::start(theirs).await?;
        // Simple replies: the kernel knows no others.
        let info = client
            .go(settings.export_name.as_deref().unwrap_or_default())
            .await?;
        let theirs = client.into_inner().into_std().map_err(failed)?;
        theirs.set_nonblocking(false).map_err(failed)?;
        let export = attach::Export {
            size: info.size,
            flags: info.flags,
            min_block: info.block_sizes.map_or(0, |(min, _, _)| min),
        };
        let image = std::path::absolute(&settings.file).map_or_else(
            |_| settings.file.clone(),
            |p| p.to_string_lossy().into_owned(),
        );
        // On this thread, whose number is the process's: that is what the kernel shows. Reading the partition table
        // is a request to this server, which other threads serve.
        tokio::task::block_in_place(|| {
            attach::attach(device, OwnedFd::from(theirs), export, &image)
        })
    }

    /// Takes clients in until the end.
    async fn run(&mut self, door: &mut Door, stop: &Notify) -> End {
        loop {
            let room = self.most == 0 || self.tasks.len() < self.most;
            tokio::select! {
                () = stop.notified() => return End::Told,
                Some(left) = self.tasks.join_next() => {
                    // A task that panicked has said so.
                    let Ok(left) = left else { continue };
                    if left.kernel {
                        return End::KernelLeft;
                    }
                    let negotiated = left.outcome == Outcome::Negotiated;
                    if negotiated && self.tasks.is_empty() && !self.persistent {
                        return End::Told;
                    }
                }
                connection = door.accept(), if room => self.add(connection, false),
            }
        }
    }

    /// Lets requests under way finish and closes all connections.
    async fn close(mut self) {
        self.export.stop();
        while self.tasks.join_next().await.is_some() {}
    }
}
