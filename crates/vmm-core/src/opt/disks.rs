//! Disks: `-drive` and its short forms.

use block::core::CacheMode;
use qapi::{Error, Result};

use super::{Action, OptionEntry, values};
use crate::plan::{DriveRequest, Interface, Plan};

pub(super) const OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "drive",
        argument: "[file=file][,if=type][,index=i][,media=d][,format=f][,...]",
        help: "a disk or CD (if: ide, virtio, none; media: disk, cdrom; readonly, snapshot, cache, discard, serial)",
        action: Action::Value(drive),
    },
    OptionEntry {
        name: "blockdev",
        argument: "[driver=]driver[,node-name=N][,read-only=on|off][,...]",
        help: "configure a block backend",
        action: Action::Value(|plan, text| {
            plan.blockdevs.push(text.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "hda",
        argument: "file",
        help: "use 'file' as hard disk 0",
        action: Action::Value(|plan, file| disk(plan, file, 0)),
    },
    OptionEntry {
        name: "hdb",
        argument: "file",
        help: "use 'file' as hard disk 1",
        action: Action::Value(|plan, file| disk(plan, file, 1)),
    },
    OptionEntry {
        name: "hdc",
        argument: "file",
        help: "use 'file' as hard disk 2",
        action: Action::Value(|plan, file| disk(plan, file, 2)),
    },
    OptionEntry {
        name: "hdd",
        argument: "file",
        help: "use 'file' as hard disk 3",
        action: Action::Value(|plan, file| disk(plan, file, 3)),
    },
    OptionEntry {
        name: "cdrom",
        argument: "file",
        help: "use 'file' as CD image (IDE drive 2)",
        action: Action::Value(cdrom),
    },
    OptionEntry {
        name: "pflash",
        argument: "file",
        help: "use 'file' as a parallel flash image",
        action: Action::Value(pflash),
    },
    OptionEntry {
        name: "snapshot",
        argument: "",
        help: "write to temporary files instead of disk images",
        action: Action::Flag(|plan| {
            plan.snapshot = true;
            Ok(())
        }),
    },
];

/// A disk image given without an option: hard disk 0.
pub(super) fn bare_image(plan: &mut Plan, file: &str) -> Result<()> {
    disk(plan, file, 0)?;
    if let Some(request) = plan.drives.last_mut() {
        request.text = file.to_owned();
    }
    Ok(())
}

fn disk(plan: &mut Plan, file: &str, index: u32) -> Result<()> {
    plan.drives.push(DriveRequest {
        text: format!("-hd{} {file}", ['a', 'b', 'c', 'd'][index as usize % 4]),
        file: Some(file.to_owned()),
        index: Some(index),
        ..DriveRequest::default()
    });
    Ok(())
}

fn pflash(plan: &mut Plan, file: &str) -> Result<()> {
    plan.drives.push(DriveRequest {
        text: format!("-pflash {file}"),
        file: Some(file.to_owned()),
        interface: Interface::Pflash,
        ..DriveRequest::default()
    });
    Ok(())
}

fn cdrom(plan: &mut Plan, file: &str) -> Result<()> {
    plan.drives.push(DriveRequest {
        text: format!("-cdrom {file}"),
        file: (!file.is_empty()).then(|| file.to_owned()),
        index: Some(2),
        cd: true,
        ..DriveRequest::default()
    });
    Ok(())
}

/// A key of `-drive` that says how the disk is used; what is not here belongs to the block layer.
type Key = (
    &'static str,
    fn(&mut DriveRequest, &str, &str) -> Result<()>,
);

const KEYS: &[Key] = &[
    ("file", |r, _, value| {
        r.file = Some(value.to_owned());
        Ok(())
    }),
    ("format", |r, _, value| {
        r.format = Some(value.to_owned());
        Ok(())
    }),
    ("if", |r, _, value| {
        r.interface = Interface::named(value)?;
        Ok(())
    }),
    ("index", |r, name, value| {
        r.index = Some(values::number(name, value)?);
        Ok(())
    }),
    ("bus", |r, name, value| {
        r.bus = Some(values::number(name, value)?);
        Ok(())
    }),
    ("unit", |r, name, value| {
        r.unit = Some(values::number(name, value)?);
        Ok(())
    }),
    ("media", |r, _, value| {
        r.cd = match value {
            "disk" => false,
            "cdrom" => true,
            other => return Err(Error::new(format!("'{other}' invalid media"))),
        };
        Ok(())
    }),
    ("id", |r, _, value| {
        r.id = Some(value.to_owned());
        Ok(())
    }),
    ("readonly", |r, name, value| read_only(r, name, value)),
    ("read-only", |r, name, value| read_only(r, name, value)),
    ("snapshot", |r, name, value| {
        r.snapshot = Some(values::switch(name, value)?);
        Ok(())
    }),
    ("cache", |r, _, value| {
        r.cache = CacheMode::parse(value).ok_or_else(|| Error::new("invalid cache option"))?;
        Ok(())
    }),
    ("discard", |r, _, value| {
        r.unmap = match value {
            "ignore" | "off" => false,
            "unmap" | "on" => true,
            _ => return Err(Error::new("invalid discard option")),
        };
        Ok(())
    }),
    ("aio", |_, _, value| match value {
        // The block layer chooses by itself what is quickest.
        "threads" | "native" | "io_uring" => Ok(()),
        _ => Err(Error::new(format!(
            "Parameter 'aio' does not accept value '{value}'"
        ))),
    }),
    ("serial", |r, _, value| {
        r.serial = value.to_owned();
        Ok(())
    }),
    ("copy-on-read", |r, name, value| {
        r.copy_on_read = values::switch(name, value)?;
        Ok(())
    }),
    ("werror", |_, _, value| error_action("write", value)),
    ("rerror", |_, _, value| error_action("read", value)),
];

fn read_only(request: &mut DriveRequest, name: &str, value: &str) -> Result<()> {
    request.read_only = Some(values::switch(name, value)?);
    Ok(())
}

/// What an error of the disk does. The guest is told, always.
// GAP: stopping the machine on an error.
fn error_action(what: &str, value: &str) -> Result<()> {
    match value {
        "report" | "ignore" | "enospc" | "auto" => Ok(()),
        "stop" => Err(Error::new(format!(
            "'stop' on {what} error is not supported yet"
        ))),
        other => Err(Error::new(format!("'{other}' invalid {what} error action"))),
    }
}

/// Whether a key limits how much the disk may do.
fn is_limit(name: &str) -> bool {
    let bare = name.strip_prefix("throttling.").unwrap_or(name);
    bare != name || bare.starts_with("bps") || bare.starts_with("iops")
}

/// A limit of zero is none.
// GAP: limits of what a disk may do in a second.
fn limit(name: &str, value: &str) -> Result<()> {
    match value {
        "0" => Ok(()),
        _ => Err(Error::new(format!("limit '{name}' is not supported yet"))),
    }
}

fn drive(plan: &mut Plan, text: &str) -> Result<()> {
    let mut request = DriveRequest {
        text: format!("-drive {text}"),
        ..DriveRequest::default()
    };
    for (name, value) in values::pairs(text, "file") {
        if is_limit(&name) {
            limit(&name, &value)?;
            continue;
        }
        match KEYS.iter().find(|(key, _)| *key == name) {
            Some((_, set)) => set(&mut request, &name, &value)?,
            None => request.driver_options.push((name, value)),
        }
    }
    if request.index.is_some() && (request.bus.is_some() || request.unit.is_some()) {
        return Err(Error::new("index cannot be used with bus and unit"));
    }
    if request.cd && request.read_only == Some(false) {
        return Err(Error::new("a CD is always read-only"));
    }
    plan.drives.push(request);
    Ok(())
}
