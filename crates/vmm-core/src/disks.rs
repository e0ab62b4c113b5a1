//! The disks that the options ask for: opened, placed, and closed at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_core::Wake;
use backend_core::disk::Disk;
use block::core::Root;
use block::{Flags, Layer, Session};
use dev_storage::backing::BlockDisk;
use machine::device::DeviceOption;
use machine::{DriveConfig, DrivePlace, FlashConfig, MakeDisk};
use qapi::{Error, Result};
use reactor::Background;

use crate::plan::{DriveRequest, Interface, Plan};

/// Room for flash below 4 GiB.
const MOST_FLASH: u64 = 8 << 20;
/// Threads that carry out requests of disks.
const THREADS: usize = 2;

/// Open disks. They outlive the machine: what the guest flushed is stored at the latest when they are closed.
pub(crate) struct Disks {
    runtime: Arc<Background>,
    session: Session,
    roots: Vec<(String, Arc<Root>)>,
    flash: Vec<FlashConfig>,
}

impl Disks {
    /// Opens what the plan names; gives the drives to attach.
    ///
    /// # Errors
    /// A disk that cannot be opened, or two at one place; the option in front.
    pub(crate) fn open(plan: &Plan) -> Result<(Self, Vec<DriveConfig>)> {
        let runtime =
            Background::new(THREADS).map_err(|error| Error::from_io("threads", &error))?;
        let mut disks = Self {
            runtime: Arc::new(runtime),
            session: Session::new(&[]),
            roots: Vec::new(),
            flash: Vec::new(),
        };
        disks.open_flash(plan)?;
        let mut drives = Vec::new();
        let mut spare = BTreeMap::new();
        let mut taken = Taken::of(plan);
        for (request, place) in placed(plan, &mut taken)? {
            let told = |error: Error| error.prefix(format!("{}: ", request.text));
            let medium = disks.medium(plan, request).map_err(told)?;
            match place {
                Some(place) => drives.push(DriveConfig {
                    place,
                    medium,
                    cd: request.cd,
                    serial: request.serial.clone(),
                    boot_index: None,
                }),
                None => {
                    let id = request.id.clone().unwrap_or_default();
                    spare.insert(id, (request, medium));
                }
            }
        }
        for device in plan.drive_devices() {
            let told = |error: Error| error.prefix(format!("-device {}: ", device.text));
            let drive = attached(device, &mut spare, &mut taken).map_err(told)?;
            drives.push(drive);
        }
        if !plan.nodefaults {
            add_empty_cd(&mut taken, &mut drives);
        }
        Ok((disks, drives))
    }

    /// The flash, to be attached.
    pub(crate) fn take_flash(&mut self) -> Vec<FlashConfig> {
        std::mem::take(&mut self.flash)
    }

    /// Opens and reads the flash, in the order of its units.
    fn open_flash(&mut self, plan: &Plan) -> Result<()> {
        let all = plan.drives.iter();
        let all = all.filter(|request| request.interface == Interface::Pflash);
        let mut units: BTreeMap<u32, &DriveRequest> = BTreeMap::new();
        for request in all {
            let free = (0..).find(|unit| !units.contains_key(unit)).unwrap_or(0);
            let unit = request.index.or(request.unit).unwrap_or(free);
            if units.insert(unit, request).is_some() {
                let why = format!("drive with bus=0, unit={unit} (index={unit}) exists");
                return Err(Error::new(why).prefix(format!("{}: ", request.text)));
            }
        }
        for request in units.into_values() {
            let told = |error: Error| error.prefix(format!("{}: ", request.text));
            let medium = self.medium(plan, request).map_err(told)?;
            let Some((_, root)) = self.roots.last().filter(|_| medium.is_some()) else {
                return Err(told(Error::new("flash without a file")));
            };
            let root = Arc::clone(root);
            let content = self.content(&root).map_err(told)?;
            let writable = request.read_only != Some(true);
            self.flash.push(FlashConfig {
                content,
                medium: medium.filter(|_| writable),
            });
        }
        Ok(())
    }

    /// All bytes of a small image.
    fn content(&self, root: &Arc<Root>) -> Result<Vec<u8>> {
        let length = root.length().map_err(|e| Error::from_io("flash", &e))?;
        if length > MOST_FLASH {
            let why = format!("combined size of system firmware exceeds {MOST_FLASH} bytes");
            return Err(Error::new(why));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = self.runtime.wait(root_read(Arc::clone(root), &mut bytes));
        match read {
            Some(Ok(())) => Ok(bytes),
            Some(Err(error)) => Err(Error::from_io("flash", &error)),
            None => Err(Error::new("the block layer has ended")),
        }
    }

    /// Opens the file of a drive, if it has one.
    fn medium(&mut self, plan: &Plan, request: &DriveRequest) -> Result<Option<MakeDisk>> {
        let Some(layer) = request.layer() else {
            return Ok(None);
        };
        let read_only = request.read_only.unwrap_or(request.cd);
        let flags = Flags {
            writable: !read_only,
            cache: request.cache,
            unmap: request.unmap,
            ..Flags::default()
        };
        let format = request.format.as_deref();
        let layer = match &layer {
            (text, true) => Layer::Options(text),
            (name, false) => Layer::Name(name, format),
        };
        let overlay = !read_only && request.snapshot.unwrap_or(plan.snapshot);
        let session = &self.session;
        let opening = async {
            if overlay {
                block::open_overlay(session, layer, flags).await
            } else {
                session.open(layer, flags).await
            }
        };
        let gone = || Error::new("the block layer has ended");
        let root = self.runtime.wait(opening).ok_or_else(gone)??;
        self.roots.push((request.text.clone(), Arc::clone(&root)));
        let runtime = Arc::clone(&self.runtime);
        Ok(Some(Box::new(move |wake: Wake| {
            Box::new(BlockDisk::new(root, runtime, wake, read_only)) as Box<dyn Disk>
        })))
    }

    /// Waits for requests under way and stores everything.
    ///
    /// # Errors
    /// The first error; every disk is closed nevertheless.
    pub(crate) fn close(&self) -> Result<()> {
        let mut result = Ok(());
        for (text, root) in &self.roots {
            let closed = self.runtime.wait(close(root)).unwrap_or(Ok(()));
            let closed = closed.map_err(|error| error.prefix(format!("{text}: ")));
            result = result.and(closed);
        }
        result
    }
}

async fn root_read(root: Arc<Root>, into: &mut [u8]) -> std::io::Result<()> {
    root.read(0, into).await
}

async fn close(root: &Root) -> Result<()> {
    let drained = root.drain().await;
    let closed = root.node().close().await;
    drop(drained);
    closed
}

/// Places of the board's own controller, and which are taken.
struct Taken {
    /// Drives a channel or port.
    units: usize,
    places: Vec<bool>,
}

impl Taken {
    fn of(plan: &Plan) -> Self {
        let board = machine::find_board(&plan.machine);
        let (buses, units) = match board.and_then(|(board, _)| board.controller) {
            Some(controller) => (controller.buses, controller.units),
            None => (0, 1),
        };
        Self {
            units,
            places: vec![false; buses * units],
        }
    }
}

/// Disks of `if=none` by their id, until a device takes them.
type Spare<'p> = BTreeMap<String, (&'p DriveRequest, Option<MakeDisk>)>;

/// The drive that a `-device` makes of a disk of `if=none`.
fn attached(
    device: &DeviceOption,
    spare: &mut Spare<'_>,
    taken: &mut Taken,
) -> Result<DriveConfig> {
    const KNOWN: [&str; 6] = ["id", "drive", "serial", "bus", "unit", "bootindex"];
    if let Some(other) = device
        .properties
        .keys()
        .find(|k| !KNOWN.contains(&k.as_str()))
    {
        // GAP: the other properties of the reference.
        return Err(Error::new(format!(
            "property '{}.{other}' is not supported yet",
            device.driver
        )));
    }
    let property = |name: &str| device.properties.get(name).map(String::as_str);
    let cd = device.driver == "ide-cd";
    let (serial, medium) = match property("drive") {
        Some(id) => {
            let found = spare.remove(id).ok_or_else(|| {
                Error::new(format!(
                    "Property '{}.drive' can't find value '{id}'",
                    device.driver
                ))
            })?;
            (found.0.serial.clone(), found.1)
        }
        None if cd => (String::new(), None),
        None => return Err(Error::new("drive property not set")),
    };
    let place = if device.driver.starts_with("ide") {
        let bus = property("bus").map(ide_bus).transpose()?;
        let unit = property("unit").map(number).transpose()?;
        ide_place((None, bus, unit), taken)?
    } else {
        DrivePlace::Virtio
    };
    Ok(DriveConfig {
        place,
        medium,
        cd,
        serial: property("serial").map_or(serial, str::to_owned),
        boot_index: property("bootindex").map(number).transpose()?,
    })
}

fn number(text: &str) -> Result<u32> {
    text.parse()
        .map_err(|_| Error::new(format!("'{text}' is not a number")))
}

/// `ide.N`
fn ide_bus(text: &str) -> Result<u32> {
    let number = text.strip_prefix("ide.").and_then(|n| n.parse().ok());
    number.ok_or_else(|| Error::new(format!("Bus '{text}' not found")))
}

/// The CD drive that every PC has: the third place, unless something else is there.
fn add_empty_cd(taken: &mut Taken, drives: &mut Vec<DriveConfig>) {
    const USUAL: usize = 2;
    let any_cd = drives.iter().any(|drive| drive.cd);
    let units = taken.units;
    let free = taken.places.get_mut(USUAL).filter(|place| !**place);
    if let Some(place) = free.filter(|_| !any_cd) {
        *place = true;
        drives.push(DriveConfig {
            place: DrivePlace::Ide(USUAL / units, USUAL % units),
            medium: None,
            cd: true,
            serial: String::new(),
            boot_index: None,
        });
    }
}

/// Each request with its place on the board; none for `if=none`.
fn placed<'p>(
    plan: &'p Plan,
    taken: &mut Taken,
) -> Result<Vec<(&'p DriveRequest, Option<DrivePlace>)>> {
    let mut out = Vec::new();
    for request in &plan.drives {
        let place = match request.interface {
            Interface::Pflash => continue,
            Interface::None => None,
            Interface::Virtio => Some(DrivePlace::Virtio),
            Interface::Ide => {
                let wanted = (request.index, request.bus, request.unit);
                let told = |error: Error| error.prefix(format!("{}: ", request.text));
                Some(ide_place(wanted, taken).map_err(told)?)
            }
        };
        out.push((request, place));
    }
    Ok(out)
}

/// A place of the IDE controller: the one that index, or bus and unit, name, or the first that is free.
fn ide_place(
    wanted: (Option<u32>, Option<u32>, Option<u32>),
    taken: &mut Taken,
) -> Result<DrivePlace> {
    let index = match wanted {
        (Some(index), ..) => Some(index),
        (None, None, None) => None,
        (None, bus, unit) => {
            let units = u32::try_from(taken.units).unwrap_or(u32::MAX);
            let unit = unit.unwrap_or(0);
            if unit >= units {
                return Err(Error::new(format!(
                    "unit {unit} too big (max is {})",
                    units - 1
                )));
            }
            let first = bus.unwrap_or(0).saturating_mul(units);
            Some(first.saturating_add(unit))
        }
    };
    let index = match index {
        Some(index) => usize::try_from(index).unwrap_or(usize::MAX),
        None => taken.places.iter().position(|t| !t).unwrap_or(usize::MAX),
    };
    let (bus, unit) = (index / taken.units, index % taken.units);
    match taken.places.get_mut(index) {
        None => Err(Error::new("no place left on the IDE controller")),
        Some(true) => Err(Error::new(format!(
            "drive with bus={bus}, unit={unit} (index={index}) exists"
        ))),
        Some(slot) => {
            *slot = true;
            Ok(DrivePlace::Ide(bus, unit))
        }
    }
}
