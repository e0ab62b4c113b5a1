//! The disks that the options ask for: opened, placed, and closed at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_core::Wake;
use backend_core::disk::Disk;
use block::core::{CacheMode, Node, Root};
use block::{Flags, Layer, Session};
use dev_storage::accounts::Accounts;
use dev_storage::backing::BlockDisk;
use machine::device::{DeviceOption, DiskOptions};
use machine::{DriveConfig, DrivePlace, FlashConfig, MakeDisk};
use object::Objects;
use qapi::{Error, Result, Value};
use reactor::Background;

use crate::objects::OBJECTS;
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
    /// What monitors know of drives.
    rows: Vec<Row>,
    /// What `-blockdev` made.
    nodes: Vec<Arc<Node>>,
}

/// What a machine is to have of the disks.
pub(crate) struct Attached {
    pub(crate) drives: Vec<DriveConfig>,
    pub(crate) flash: Vec<FlashConfig>,
}

/// A drive, as monitors show it.
pub(crate) struct Row {
    /// Name of the back end; empty when only its nodes have names.
    pub(crate) device: String,
    /// Where the device is in the tree of objects.
    pub(crate) qdev: Option<String>,
    /// The medium may be taken out.
    pub(crate) removable: bool,
    /// How the host's cache is used.
    pub(crate) cache: CacheMode,
    /// What is in it.
    pub(crate) root: Option<Arc<Root>>,
    /// What its device had done.
    pub(crate) accounts: Arc<Accounts>,
}

/// A disk that is open, and not yet part of a device.
struct Medium {
    make: Option<MakeDisk>,
    root: Option<Arc<Root>>,
    cache: CacheMode,
    serial: String,
    accounts: Arc<Accounts>,
}

impl Disks {
    /// Opens what the plan names; gives what is to be attached.
    ///
    /// # Errors
    /// A disk that cannot be opened, or two at one place; the option in front.
    pub(crate) fn open(plan: &Plan) -> Result<(Self, Attached)> {
        let runtime =
            Background::new(THREADS).map_err(|error| Error::from_io("threads", &error))?;
        let objects = Arc::new(Objects::of(OBJECTS));
        for text in &plan.objects {
            let told = |error: Error| error.prefix(format!("-object {text}: "));
            objects.add(text).map_err(told)?;
        }
        let mut disks = Self {
            runtime: Arc::new(runtime),
            session: Session::with_objects(&[], objects),
            roots: Vec::new(),
            rows: Vec::new(),
            nodes: Vec::new(),
        };
        for text in &plan.blockdevs {
            let told = |error: Error| error.prefix(format!("-blockdev {text}: "));
            disks.add_node(text).map_err(told)?;
        }
        let flash = disks.open_flash(plan)?;
        let mut drives = Vec::new();
        let mut spare = BTreeMap::new();
        let mut taken = Taken::of(plan);
        let mut virtio = 0;
        for (request, place) in placed(plan, &mut taken)? {
            let told = |error: Error| error.prefix(format!("{}: ", request.text));
            let medium = disks.medium(plan, request).map_err(told)?;
            let Some(place) = place else {
                let id = request.id.clone().unwrap_or_default();
                disks.row(&id, None, request.cd, &medium);
                spare.insert(id, medium);
                continue;
            };
            let given = request.id.clone();
            let device = given.unwrap_or_else(|| backend_name(place, request.cd, &mut virtio));
            let qdev = match place {
                DrivePlace::Virtio => {
                    let n = virtio_count(&drives);
                    format!("/machine/peripheral-anon/device[{n}]/virtio-backend")
                }
                DrivePlace::Ide(..) => format!("/machine/unattached/{device}"),
            };
            disks.row(&device, Some(qdev), request.cd, &medium);
            drives.push(DriveConfig {
                place,
                medium: medium.make,
                cd: request.cd,
                serial: request.serial.clone(),
                boot_index: None,
                virtio: DiskOptions::default(),
            });
        }
        for device in plan.drive_devices() {
            let told = |error: Error| error.prefix(format!("-device {}: ", device.text));
            let drive = disks
                .attached(device, &mut spare, &mut taken, drives.len())
                .map_err(told)?;
            drives.push(drive);
        }
        let empty = if plan.nodefaults {
            None
        } else {
            empty_cd(&mut taken, &drives)
        };
        if let Some(drive) = empty {
            let device = backend_name(drive.place, true, &mut virtio);
            let qdev = Some(format!("/machine/unattached/{device}"));
            disks.row(&device, qdev, true, &Medium::none());
            drives.push(drive);
        }
        Ok((disks, Attached { drives, flash }))
    }

    /// Opens and reads the flash, in the order of its units.
    fn open_flash(&mut self, plan: &Plan) -> Result<Vec<FlashConfig>> {
        let mut flash = Vec::new();
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
            let Some(root) = medium.root else {
                return Err(told(Error::new("flash without a file")));
            };
            let content = self.content(&root).map_err(told)?;
            let writable = request.read_only != Some(true);
            flash.push(FlashConfig {
                content,
                medium: medium.make.filter(|_| writable),
            });
        }
        Ok(flash)
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

    fn row(&mut self, device: &str, qdev: Option<String>, removable: bool, medium: &Medium) {
        self.rows.push(Row {
            device: device.to_owned(),
            qdev,
            removable,
            cache: medium.cache,
            root: medium.root.clone(),
            accounts: Arc::clone(&medium.accounts),
        });
    }

    /// What monitors know of drives.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// An object of `-object`, if it is of this type.
    pub(crate) fn object<T: Send + Sync + 'static>(&self, id: &str) -> Option<Arc<T>> {
        self.session.objects().get(id)
    }

    /// The ids of all objects, sorted.
    pub(crate) fn object_ids(&self) -> Vec<String> {
        self.session.objects().ids()
    }

    /// All nodes of the block layer, in no order.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.session.nodes()
    }

    /// Waits for a future on the disks' threads.
    pub(crate) fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        self.runtime.wait(future)
    }

    /// Makes a node of `-blockdev`.
    fn add_node(&mut self, text: &str) -> Result<()> {
        let options = if text.starts_with('{') {
            match qapi::json::parse(text)? {
                Value::Dict(options) => options,
                _ => return Err(Error::new("Invalid JSON object given")),
            }
        } else {
            qapi::keyval::parse_options(text, Some("driver"))?
        };
        if options.get("node-name").is_none() {
            return Err(Error::new(
                "'node-name' must be specified for the root node",
            ));
        }
        let read_only = match options.get("read-only") {
            Some(Value::Bool(on)) => *on,
            Some(Value::Str(text)) => qapi::opts::parse_bool("read-only", text)?,
            _ => false,
        };
        let unmap = matches!(options.get_str("discard"), Some("unmap" | "on"));
        let flags = Flags {
            writable: !read_only,
            unmap,
            ..Flags::default()
        };
        let opening = self.session.add(options, flags);
        let gone = || Error::new("the block layer has ended");
        let node = self.runtime.wait(opening).ok_or_else(gone)??;
        self.nodes.push(node);
        Ok(())
    }

    /// Opens the file of a drive, if it has one.
    fn medium(&mut self, plan: &Plan, request: &DriveRequest) -> Result<Medium> {
        let Some(layer) = request.layer() else {
            return Ok(Medium::none());
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
        root.set_copy_on_read(request.copy_on_read && !read_only);
        let mut medium = self.hold(&request.text, root, read_only);
        medium.cache = request.cache;
        medium.serial.clone_from(&request.serial);
        Ok(medium)
    }

    /// Keeps a disk open, and makes what a device has of it.
    fn hold(&mut self, text: &str, root: Arc<Root>, read_only: bool) -> Medium {
        self.roots.push((text.to_owned(), Arc::clone(&root)));
        let runtime = Arc::clone(&self.runtime);
        let disk = Arc::clone(&root);
        let accounts = Arc::default();
        let counted = Arc::clone(&accounts);
        Medium {
            make: Some(Box::new(move |wake: Wake| {
                let disk = BlockDisk::new(disk, runtime, wake, read_only);
                Box::new(disk.counted(counted)) as Box<dyn Disk>
            })),
            root: Some(root),
            accounts,
            ..Medium::none()
        }
    }

    /// The medium that `drive=` names: a disk of `if=none`, or a node.
    fn named(&mut self, device: &DeviceOption, id: &str, spare: &mut Spare) -> Result<Medium> {
        if let Some(medium) = spare.remove(id) {
            return Ok(medium);
        }
        let node = self.nodes.iter().find(|node| node.name() == id);
        let node = node.ok_or_else(|| {
            // A virtio disk's properties are those of the device behind its function.
            let owner = match device.driver.as_str() {
                "virtio-blk-pci" => "virtio-blk-device",
                other => other,
            };
            Error::new(format!("Property '{owner}.drive' can't find value '{id}'"))
        })?;
        let cd = device.driver == "ide-cd";
        let read_only = cd || node.read_only();
        let flags = Flags {
            writable: !read_only,
            ..Flags::default()
        };
        let root = self.session.hold(Arc::clone(node), flags)?;
        Ok(self.hold(&format!("-blockdev {id}"), root, read_only))
    }

    /// The drive that a `-device` makes of a disk of `if=none`, or of a node.
    fn attached(
        &mut self,
        device: &DeviceOption,
        spare: &mut Spare,
        taken: &mut Taken,
        before: usize,
    ) -> Result<DriveConfig> {
        machine::device::check(device).map_err(Error::new)?;
        let property = |name: &str| device.properties.get(name).map(String::as_str);
        let cd = device.driver == "ide-cd";
        let backend = property("drive").filter(|id| spare.contains_key(*id));
        let backend = backend.unwrap_or("").to_owned();
        let medium = match property("drive") {
            Some(id) => self.named(device, id, spare)?,
            None if cd => Medium::none(),
            None => return Err(Error::new("drive property not set")),
        };
        let virtio = !device.driver.starts_with("ide");
        let place = if virtio {
            DrivePlace::Virtio
        } else {
            let bus = property("bus").map(ide_bus).transpose()?;
            let unit = property("unit").map(number).transpose()?;
            ide_place((None, bus, unit), taken)?
        };
        let tail = if virtio { "/virtio-backend" } else { "" };
        let qdev = match property("id") {
            // A device that is the drive itself is told by its id alone.
            Some(id) if tail.is_empty() => id.to_owned(),
            Some(id) => format!("/machine/peripheral/{id}{tail}"),
            None => format!("/machine/peripheral-anon/device[{before}]{tail}"),
        };
        match self.rows.iter_mut().find(|row| row.device == backend) {
            Some(row) if !backend.is_empty() => {
                row.qdev = Some(qdev);
                row.removable = cd;
            }
            _ => self.row(&backend, Some(qdev), cd, &medium),
        }
        Ok(DriveConfig {
            place,
            cd,
            serial: property("serial").map_or(medium.serial, str::to_owned),
            medium: medium.make,
            boot_index: property("bootindex").map(number).transpose()?,
            virtio: DiskOptions::read(device).map_err(Error::new)?,
        })
    }

    /// What was flushed is safe on every disk.
    pub(crate) fn flush(&self) {
        for (text, root) in &self.roots {
            if let Some(Err(error)) = self.runtime.wait(root.flush()) {
                qapi::report(&Error::from_io(format!("{text}: flush"), &error));
            }
        }
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

impl Medium {
    /// An empty drive.
    fn none() -> Self {
        Self {
            make: None,
            root: None,
            cache: CacheMode::default(),
            serial: String::new(),
            accounts: Arc::default(),
        }
    }
}

/// What a back end without an id is called.
fn backend_name(place: DrivePlace, cd: bool, virtio: &mut usize) -> String {
    match place {
        DrivePlace::Ide(channel, place) => {
            let kind = if cd { "cd" } else { "hd" };
            format!("ide{channel}-{kind}{place}")
        }
        DrivePlace::Virtio => {
            *virtio += 1;
            format!("virtio{}", *virtio - 1)
        }
    }
}

fn virtio_count(drives: &[DriveConfig]) -> usize {
    let virtio = drives.iter();
    virtio.filter(|d| d.place == DrivePlace::Virtio).count()
}

async fn root_read(root: Arc<Root>, into: &mut [u8]) -> std::io::Result<()> {
    root.read(0, into).await
}

async fn close(root: &Root) -> Result<()> {
    let drained = root.drain().await;
    let node = root.node();
    let flushed = if node.read_only() {
        Ok(())
    } else {
        node.flush().await
    };
    let flushed = flushed.map_err(|error| Error::from_io("flush", &error));
    let closed = node.close().await;
    drop(drained);
    flushed.and(closed)
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
type Spare = BTreeMap<String, Medium>;

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
fn empty_cd(taken: &mut Taken, drives: &[DriveConfig]) -> Option<DriveConfig> {
    const USUAL: usize = 2;
    if drives.iter().any(|drive| drive.cd) {
        return None;
    }
    let units = taken.units;
    let place = taken.places.get_mut(USUAL).filter(|place| !**place)?;
    *place = true;
    Some(DriveConfig {
        place: DrivePlace::Ide(USUAL / units, USUAL % units),
        medium: None,
        cd: true,
        serial: String::new(),
        boot_index: None,
        virtio: DiskOptions::default(),
    })
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
