//! `--devices`: what the kernel's devices are attached to, by whom, and whether that one lives; `--cleanup`: detaches
//! those whose server is gone.

use qapi::{Dict, Error, Result, Value, json, out};
use sys::nbd::netlink::Nbd;

use super::attach::MARK;
use super::{detach, holders, sysfs};

/// One device that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    index: u32,
    size: u64,
    read_only: bool,
    /// The server's process, if it lives.
    server: Option<u32>,
    /// Its command line.
    command: Option<String>,
    image: Option<String>,
    partitions: Vec<String>,
    users: Vec<String>,
}

/// What our own attachments say in `backend`: process and image.
fn mark(backend: &str) -> Option<(u32, &str)> {
    let (pid, image) = backend.strip_prefix(MARK)?.trim_start().split_once(' ')?;
    Some((pid.parse().ok()?, image))
}

fn look(index: u32) -> Option<Device> {
    let task = sysfs::task(index)?;
    let backend = sysfs::backend(index);
    let marked = backend.as_deref().and_then(mark);
    let process = sysfs::process(marked.map_or(task, |(pid, _)| pid));
    Some(Device {
        index,
        size: sysfs::size(index),
        read_only: sysfs::read_only(index),
        server: process.as_ref().map(|(pid, _)| *pid),
        command: process.map(|(_, command)| command),
        image: marked.map(|(_, image)| image.to_owned()),
        partitions: sysfs::partitions(index),
        users: holders::of(index).iter().map(ToString::to_string).collect(),
    })
}

/// All attached devices. A number that the kernel reports as connected but that `/sys` does not know is nothing to look at.
fn attached() -> Vec<Device> {
    sysfs::all().into_iter().filter_map(look).collect()
}

/// Prints them.
pub(crate) fn show(as_json: bool) {
    let devices = attached();
    if as_json {
        let list = devices.iter().map(|d| Value::Dict(d.record())).collect();
        out::line(json::pretty(&Value::List(list)));
        return;
    }
    if devices.is_empty() {
        out::line("No NBD device is attached.");
        return;
    }
    for device in devices {
        out::text(&device.lines());
    }
}

/// Detaches what has no server any more.
///
/// # Errors
/// When a device is in use or does not become free; the others are detached nevertheless.
pub(crate) fn cleanup() -> Result<()> {
    let mut result = Ok(());
    for device in attached().into_iter().filter(|d| d.server.is_none()) {
        let name = format!("/dev/nbd{}", device.index);
        if let Err(error) = free(&device, &name) {
            qapi::report(&error);
            result = Err(Error::new("not all stale devices could be detached"));
        }
    }
    result
}

fn free(device: &Device, name: &str) -> Result<()> {
    if !device.users.is_empty() {
        return Err(Error::new(format!("{name} is in use")).hint(device.users.join("\n")));
    }
    // Its pages cannot be written any more, so they are not waited for, as they are for a device that has a server.
    let failed = |e| Error::from_io(format!("Could not disconnect {name}"), &e);
    match Nbd::open().and_then(|mut nbd| nbd.disconnect(device.index)) {
        Ok(()) => {
            detach::forget_partitions(name);
            out::line(format!("{name} disconnected"));
            Ok(())
        }
        Err(error) if error.raw_os_error() == Some(1) => Err(failed(error)),
        Err(_) => detach::run(name),
    }
}

impl Device {
    fn record(&self) -> Dict {
        let mut out = Dict::new();
        out.insert("device", format!("/dev/nbd{}", self.index));
        out.insert("size", self.size);
        out.insert("read-only", self.read_only);
        out.insert("state", self.state());
        if let Some(pid) = self.server {
            out.insert("pid", pid);
        }
        if let Some(command) = &self.command {
            out.insert("command", command.as_str());
        }
        if let Some(image) = &self.image {
            out.insert("image", image.as_str());
        }
        let list = |all: &[String]| -> Vec<Value> {
            all.iter().map(|s| Value::from(s.as_str())).collect()
        };
        out.insert("partitions", list(&self.partitions));
        out.insert("users", list(&self.users));
        out
    }

    fn state(&self) -> &'static str {
        if self.server.is_some() {
            "alive"
        } else {
            "stale"
        }
    }

    fn lines(&self) -> String {
        let mut out = format!(
            "/dev/nbd{}: {}{}, {}\n",
            self.index,
            qapi::format_size(self.size),
            if self.read_only { " read-only" } else { "" },
            self.state()
        );
        if let Some(image) = &self.image {
            out.push_str(&format!("    image: {image}\n"));
        }
        if let (Some(pid), Some(command)) = (self.server, &self.command) {
            out.push_str(&format!("    server: {pid} ({command})\n"));
        }
        if !self.partitions.is_empty() {
            out.push_str(&format!("    partitions: {}\n", self.partitions.join(" ")));
        }
        for user in &self.users {
            out.push_str(&format!("    {user}\n"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_process_and_image() {
        assert_eq!(mark("qnbd 12 /a b"), Some((12, "/a b")));
        assert_eq!(mark("qnbd x /a"), None);
        assert_eq!(mark("other"), None);
    }

    #[test]
    fn a_device_without_a_server_is_stale() {
        let device = Device {
            index: 3,
            size: 1 << 20,
            read_only: true,
            server: None,
            command: None,
            image: Some("/disk".to_owned()),
            partitions: vec!["nbd3p1".to_owned()],
            users: Vec::new(),
        };
        let lines = "/dev/nbd3: 1 MiB read-only, stale\n    image: /disk\n    partitions: nbd3p1\n";
        assert_eq!(device.lines(), lines);
        assert_eq!(device.record().get_str("state"), Some("stale"));
    }
}
