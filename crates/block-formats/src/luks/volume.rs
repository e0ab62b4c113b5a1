//! A LUKS header where it lies in a file: read, unlocked, made, and its slots changed.

use std::io;
use std::sync::Arc;

use block_core::{Edge, FindObject, WriteFlags};
use crypto::luks::{CreateOptions, ERASE_TIMES, HEADER_LEN, Header, MasterKey, SLOTS};
use crypto::{Passphrase, Stop, Zeroizing};
use qapi::{Error, Result};
use tokio::sync::oneshot;

/// Where a header and its slots are: `base` is its first byte.
#[derive(Clone)]
pub(crate) struct Area {
    pub(crate) file: Arc<Edge>,
    pub(crate) base: u64,
    /// Bytes that are there for it, if anything else follows.
    pub(crate) len: Option<u64>,
}

impl Area {
    fn place(&self, offset: u64, len: usize) -> io::Result<u64> {
        let end = offset.checked_add(len as u64);
        if end.is_none_or(|end| self.len.is_some_and(|all| end > all)) {
            return Err(io::Error::from_raw_os_error(EINVAL));
        }
        let at = self.base.checked_add(offset);
        at.ok_or_else(|| io::Error::from_raw_os_error(EINVAL))
    }

    async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let failed = |e: io::Error| Error::from_io("Could not read encryption header", &e);
        let at = self.place(offset, buf.len()).map_err(failed)?;
        self.file.read(at, buf).await.map_err(failed)
    }

    async fn write(&self, offset: u64, buf: &[u8]) -> Result<()> {
        let failed = |e: io::Error| Error::from_io("Could not write encryption header", &e);
        let at = self.place(offset, buf.len()).map_err(failed)?;
        self.file
            .write(at, buf, WriteFlags::default())
            .await
            .map_err(failed)
    }

    async fn flush(&self) -> Result<()> {
        let failed = |e: io::Error| Error::from_io("Could not write encryption header", &e);
        self.file.flush().await.map_err(failed)
    }
}

const EINVAL: i32 = 22;

/// The passphrase in the secret of this id.
pub(crate) fn passphrase(find: FindObject<'_>, id: &str) -> Result<Passphrase> {
    crypto::passphrase(find(id), id)
}

/// Does long computing on a thread of its own; nobody waiting any more ends it.
async fn aside<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct Guard(Stop);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let failed = |e: &dyn std::fmt::Display| {
        Error::new(format!("Could not start a thread for key derivation: {e}"))
    };
    let guard = Guard(Stop::default());
    let stop = guard.0.clone();
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("pbkdf".to_owned())
        .spawn(move || {
            let _ = tell.send(work(&stop));
        })
        .map_err(|e| failed(&e))?;
    told.await.map_err(|e| failed(&e))?
}

/// Reads and checks the header.
pub(crate) async fn load(area: &Area, detached: bool) -> Result<Header> {
    let mut raw = [0; HEADER_LEN];
    area.read(0, &mut raw).await?;
    Header::parse(&raw, detached)
}

/// Looks for the key in one slot.
async fn open_slot(
    area: &Area,
    header: &Header,
    slot: usize,
    passphrase: &Passphrase,
) -> Result<Option<MasterKey>> {
    if !header.slots()[slot].active {
        return Ok(None);
    }
    let range = header.material(slot);
    let mut material = Zeroizing::new(vec![0; range.len]);
    area.read(range.offset, &mut material).await?;
    let (header, passphrase) = (header.clone(), passphrase.clone());
    aside(move |stop| header.open_slot(slot, &mut material, &passphrase, stop)).await
}

/// The key that a passphrase unlocks.
pub(crate) async fn unlock(
    area: &Area,
    header: &Header,
    passphrase: &Passphrase,
) -> Result<MasterKey> {
    header.check_iterations()?;
    for slot in 0..SLOTS {
        if let Some(key) = open_slot(area, header, slot, passphrase).await? {
            return Ok(key);
        }
    }
    Err(Error::new("Invalid password, cannot unlock any keyslot"))
}

/// A new header with one slot, in memory: `material` goes to where its slot says.
pub(crate) struct Made {
    pub(crate) header: Header,
    material: Zeroizing<Vec<u8>>,
}

/// Makes a header.
pub(crate) async fn make(
    options: CreateOptions,
    passphrase: &Passphrase,
    detached: bool,
) -> Result<Made> {
    let passphrase = passphrase.clone();
    aside(move |stop| {
        let (mut header, key) = Header::create(&options, detached, stop)?;
        let material = header.fill_slot(0, &key, &passphrase, options.time_ms, stop)?;
        Ok(Made { header, material })
    })
    .await
}

impl Made {
    /// Writes it.
    pub(crate) async fn store(&self, area: &Area) -> Result<()> {
        let range = self.header.material(0);
        area.write(range.offset, &self.material).await?;
        area.write(0, &self.header.to_bytes()).await
    }
}

/// Puts the key into a slot under a passphrase.
async fn fill(
    area: &Area,
    header: &mut Header,
    slot: usize,
    key: MasterKey,
    (passphrase, time_ms): (Passphrase, u64),
) -> Result<()> {
    let mut new = header.clone();
    let (new, material) = aside(move |stop| {
        let material = new.fill_slot(slot, &key, &passphrase, time_ms, stop)?;
        Ok((new, material))
    })
    .await?;
    area.write(new.material(slot).offset, &material).await?;
    // The header says that the slot holds the key: not before it does.
    area.flush().await?;
    area.write(0, &new.to_bytes()).await?;
    *header = new;
    area.flush().await
}

/// Makes a slot inactive and its material unreadable.
async fn erase(area: &Area, header: &mut Header, slot: usize) -> Result<()> {
    header.clear_slot(slot);
    area.write(0, &header.to_bytes()).await?;
    let range = header.material(slot);
    let mut noise = vec![0; range.len];
    for _ in 0..ERASE_TIMES {
        crypto::random(&mut noise)?;
        area.write(range.offset, &noise).await?;
        area.flush().await?;
    }
    Ok(())
}

/// A change of slots, as the options of amend say it.
pub(crate) struct Change<'a> {
    pub(crate) activate: bool,
    pub(crate) new_secret: Option<&'a str>,
    pub(crate) old_secret: Option<&'a str>,
    pub(crate) slot: Option<i64>,
    pub(crate) time_ms: Option<u64>,
    pub(crate) force: bool,
    /// The secret that opened the image.
    pub(crate) secret: &'a str,
    pub(crate) find: FindObject<'a>,
}

/// Changes slots.
///
/// # Errors
/// In QEMU's words.
pub(crate) async fn change(area: &Area, header: &mut Header, change: &Change<'_>) -> Result<()> {
    if change.activate {
        add(area, header, change).await
    } else {
        remove(area, header, change).await
    }
}

fn slot_number(slot: i64, shown: impl std::fmt::Display) -> Result<usize> {
    usize::try_from(slot)
        .ok()
        .filter(|slot| *slot < SLOTS)
        .ok_or_else(|| {
            Error::new(format!(
                "Invalid keyslot {shown} specified, must be between 0 and {}",
                SLOTS - 1
            ))
        })
}

async fn add(area: &Area, header: &mut Header, change: &Change<'_>) -> Result<()> {
    let Some(new) = change.new_secret else {
        return Err(Error::new("'new-secret' is required to activate a keyslot"));
    };
    if change.old_secret.is_some() {
        return Err(Error::new(
            "'old-secret' must not be given when activating keyslots",
        ));
    }
    let slot = match change.slot {
        // QEMU shows this number without its sign.
        Some(slot) => slot_number(slot, slot.cast_unsigned() & 0xffff_ffff)?,
        None => header
            .free_slot()
            .ok_or_else(|| Error::new("Can't add a keyslot - all keyslots are in use"))?,
    };
    if !change.force && header.slots()[slot].active {
        return Err(Error::new(format!(
            "Refusing to overwrite active keyslot {slot} - please erase it first"
        )));
    }
    let old = passphrase(change.find, change.secret)?;
    let key = unlock(area, header, &old).await?;
    let new = passphrase(change.find, new)?;
    let time = change.time_ms.unwrap_or(CreateOptions::default().time_ms);
    fill(area, header, slot, key, (new, time)).await
}

async fn remove(area: &Area, header: &mut Header, change: &Change<'_>) -> Result<()> {
    for (given, name) in [
        (change.new_secret.is_some(), "new-secret"),
        (change.time_ms.is_some(), "iter-time"),
    ] {
        if given {
            return Err(Error::new(format!(
                "'{name}' must not be given when erasing keyslots"
            )));
        }
    }
    let old = change
        .old_secret
        .map(|id| passphrase(change.find, id))
        .transpose()?;
    match (change.slot, old) {
        (Some(slot), old) => {
            let slot = slot_number(slot, slot)?;
            remove_one(area, header, (slot, old), change.force).await
        }
        (None, Some(old)) => remove_matching(area, header, &old, change.force).await,
        (None, None) => Err(Error::new(
            "To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given",
        )),
    }
}

async fn remove_one(
    area: &Area,
    header: &mut Header,
    (slot, old): (usize, Option<Passphrase>),
    force: bool,
) -> Result<()> {
    if let Some(old) = old {
        header.check_iterations()?;
        if open_slot(area, header, slot, &old).await?.is_none() {
            return Err(Error::new(format!(
                "Given keyslot {slot} doesn't contain the given old password for erase operation"
            )));
        }
    }
    if !force && !header.slots()[slot].active {
        return Err(Error::new(format!(
            "Given keyslot {slot} is already erased (inactive) "
        )));
    }
    if !force && header.active_slots() == 1 {
        return Err(Error::new(format!(
            "Attempt to erase the only active keyslot {slot} which will erase all the data in the image irreversibly - refusing operation"
        )));
    }
    erase(area, header, slot).await
}

async fn remove_matching(
    area: &Area,
    header: &mut Header,
    old: &Passphrase,
    force: bool,
) -> Result<()> {
    header.check_iterations()?;
    let mut matching = Vec::new();
    for slot in 0..SLOTS {
        if open_slot(area, header, slot, old).await?.is_some() {
            matching.push(slot);
        }
    }
    if matching.is_empty() {
        return Err(Error::new(
            "No keyslots match given (old) password for erase operation",
        ));
    }
    if !force && matching.len() == header.active_slots() {
        return Err(Error::new(
            "All the active keyslots match the (old) password that was given and erasing them will erase all the data in the image irreversibly - refusing operation",
        ));
    }
    for slot in matching {
        erase(area, header, slot).await?;
    }
    Ok(())
}
