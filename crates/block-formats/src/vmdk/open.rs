//! Opens an image: descriptor, extents, parent.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use block_core::{BackingLink, Edge, OpenRequest, Opened, Role, Slot};
use qapi::{Error, Result};

use super::Vmdk;
use super::cid::Ids;
use super::descriptor::{self, EMBEDDED, EMBEDDED_AT, Line, MAX};
use super::extent::{Extent, Kind, open_sparse, read_header};
use super::header::{Header, is_sparse};
use crate::make::invalid;

/// Allocations are told apart by this when grains are of several sizes or start in odd places.
const COARSE: u32 = 1 << 31;

pub(super) async fn open(mut request: OpenRequest<'_>) -> Result<Opened> {
    let file = Arc::clone(&request.file);
    let length = file.node().length();
    let length = length.map_err(|e| Error::from_io("Could not access file", &e))?;
    if length < 4 {
        return Err(invalid("File is too small, not a valid image"));
    }
    let mut head = [0; 4];
    read(&file, 0, &mut head).await?;
    let image = if is_sparse(&head) {
        open_embedded(&file, length, &mut request).await?
    } else {
        let text = read_text(&file, 0, length.min(MAX)).await?;
        open_described(&file, &text, &mut request).await?
    };
    let mut edges = vec![file];
    for extent in &image.extents {
        if extent.slot != Slot::FILE {
            edges.push(Arc::clone(&extent.file));
        }
    }
    Ok(Opened {
        backing: image.backing.clone(),
        format: Box::new(image),
        edges,
    })
}

async fn read(file: &Edge, at: u64, bytes: &mut [u8]) -> Result<()> {
    let failed = |e: io::Error| Error::from_io("Could not read from file", &e);
    file.read(at, bytes).await.map_err(failed)
}

async fn read_text(file: &Edge, at: u64, len: u64) -> Result<String> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(EMBEDDED)];
    read(file, at, &mut bytes).await?;
    Ok(descriptor::text(&bytes))
}

/// The descriptor is inside the only extent.
async fn open_embedded(
    file: &Arc<Edge>,
    length: u64,
    request: &mut OpenRequest<'_>,
) -> Result<Vmdk> {
    let header = read_header(file).await?;
    if header.capacity == 0 && header.descriptor > 0 {
        // Nothing but a descriptor, wrapped.
        let at = header.descriptor.checked_mul(512).filter(|at| *at < length);
        let at = at.ok_or_else(|| invalid("invalid VMDK image descriptor"))?;
        let text = read_text(file, at, (length - at).min(MAX)).await?;
        return open_described(file, &text, request).await;
    }
    let text = read_text(file, EMBEDDED_AT, EMBEDDED as u64).await?;
    let place = (Slot::FILE, 0);
    let extent = sparse_extent(file, place, &header, request.read_write).await?;
    let create_type = if header.packed {
        "streamOptimized"
    } else {
        "monolithicSparse"
    };
    build(
        file,
        false,
        create_type.to_owned(),
        vec![extent],
        &text,
        request,
    )
}

/// The descriptor names files.
async fn open_described(
    file: &Arc<Edge>,
    text: &str,
    request: &mut OpenRequest<'_>,
) -> Result<Vmdk> {
    let create_type = descriptor::create_type(text)?;
    let mut extents = Vec::new();
    let mut start = 0;
    let mut given = take_extents(request);
    for (number, line) in (0_u16..).zip(descriptor::extents(text)?) {
        let option = given.remove(&number.to_string());
        let gate = request.gate;
        let (role, name) = (role_of(&line), name_of(number));
        let child = gate
            .open_child(role, name, option, Some(&line.file))
            .await?;
        let slot = Slot(
            number
                .checked_add(1)
                .ok_or_else(|| invalid("Too many extents"))?,
        );
        let extent = described_extent(child, (slot, start), &line, request.read_write).await?;
        start = extent.end();
        extents.push(extent);
    }
    build(file, true, create_type, extents, text, request)
}

/// Options of extents, by number.
fn take_extents(request: &mut OpenRequest<'_>) -> HashMap<String, qapi::Value> {
    match request.options.remove("extents") {
        Some(qapi::Value::Dict(given)) => given.into_entries().into_iter().collect(),
        _ => HashMap::new(),
    }
}

fn role_of(line: &Line) -> Role {
    match line.kind {
        descriptor::Kind::Flat(_) => Role::Data,
        descriptor::Kind::Sparse => Role::File,
    }
}

/// `extents.N`: names of edges live as long as the process, so each is made once.
fn name_of(number: u16) -> &'static str {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    while names.len() <= usize::from(number) {
        let name = format!("extents.{}", names.len());
        names.push(Box::leak(name.into_boxed_str()));
    }
    names[usize::from(number)]
}

async fn described_extent(
    file: Arc<Edge>,
    (slot, start): (Slot, u64),
    line: &Line,
    read_write: bool,
) -> Result<Extent> {
    let mut extent = match line.kind {
        descriptor::Kind::Flat(offset) => Extent {
            start,
            len: line.sectors * 512,
            slot,
            file,
            word: "",
            kind: Kind::Flat(offset),
        },
        descriptor::Kind::Sparse => {
            let header = read_header(&file).await?;
            sparse_extent(&file, (slot, start), &header, read_write).await?
        }
    };
    extent.word = line.word;
    if extent
        .start
        .checked_add(extent.len)
        .is_none_or(|end| end > 1 << 62)
    {
        return Err(invalid("The extents are too large"));
    }
    Ok(extent)
}

async fn sparse_extent(
    file: &Arc<Edge>,
    (slot, start): (Slot, u64),
    header: &Header,
    read_write: bool,
) -> Result<Extent> {
    let sparse = open_sparse(file, header, read_write).await?;
    Ok(Extent {
        start,
        len: header.capacity * 512,
        slot,
        file: Arc::clone(file),
        word: "",
        kind: Kind::Sparse(Box::new(sparse)),
    })
}

fn build(
    file: &Arc<Edge>,
    own_file: bool,
    create_type: String,
    extents: Vec<Extent>,
    text: &str,
    request: &OpenRequest<'_>,
) -> Result<Vmdk> {
    let missing = || Error::with_errno("Could not open the image", 22);
    let own = descriptor::hex(text, "CID=").ok_or_else(missing)?;
    let parent = descriptor::hex(text, "parentCID=").ok_or_else(missing)?;
    let backing = descriptor::quoted(text, "parentFileNameHint");
    if backing.is_some_and(|name| name.len() > 1023) {
        return Err(missing());
    }
    let markers = |e: &Extent| e.sparse().map(|s| (s.packed, s.markers));
    let mut packed = extents
        .iter()
        .filter_map(markers)
        .filter(|(packed, _)| *packed);
    if let Some(first) = packed.next()
        && packed.any(|other| other != first)
    {
        return Err(invalid("Packed extents of several kinds"));
    }
    Ok(Vmdk {
        file: Arc::clone(file),
        own_file,
        create_type,
        backing: backing.map(|name| BackingLink {
            file: name.to_owned(),
            format: Some("vmdk".to_owned()),
        }),
        ids: Ids::new(own, parent),
        unit: unit(&extents),
        extents,
        read_only: AtomicBool::new(!request.read_write),
    })
}

/// What allocations are told apart by: the grain, if all extents have the same and start at whole ones.
fn unit(extents: &[Extent]) -> u32 {
    let mut grains = extents.iter().filter_map(|e| {
        let sparse = e.sparse()?;
        Some((e.start, sparse.core.block))
    });
    let Some((_, grain)) = grains.next() else {
        return 65536;
    };
    let even = grains.all(|(start, other)| other == grain && start.is_multiple_of(grain));
    if even {
        u32::try_from(grain).unwrap_or(COARSE)
    } else {
        COARSE
    }
}
