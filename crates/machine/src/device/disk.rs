//! What a user may say of a virtio disk, beside its backend.

use dev_virtio::RingOptions;

use super::{DeviceOption, address};

/// Queues that a disk can have here: each has a message of its own, and the table has 128.
const MOST_QUEUES: u64 = 64;
/// Entries that a queue can have.
const MOST_ENTRIES: u64 = 1024;

/// A virtio disk's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOptions {
    /// Device and function on a PCI bus; the next free one if not given.
    pub address: Option<u8>,
    /// Queues; as many as there are processors if not given, where the bus can tell them apart.
    pub queues: Option<u16>,
    /// Entries of each.
    pub queue_size: u16,
    /// The guest may discard.
    pub discard: bool,
    /// The guest may write zeroes.
    pub write_zeroes: bool,
    /// The guest may switch the write cache.
    pub config_wce: bool,
    /// How rings are made.
    pub rings: RingOptions,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            address: None,
            queues: None,
            queue_size: 256,
            discard: true,
            write_zeroes: true,
            config_wce: true,
            rings: RingOptions::default(),
        }
    }
}

impl DiskOptions {
    /// What a `-device` says; its properties were checked one by one before.
    ///
    /// # Errors
    /// The reference's words for numbers that a disk cannot have.
    pub fn read(option: &DeviceOption) -> Result<Self, String> {
        const AS_MANY_AS_PROCESSORS: u64 = 0xffff;
        let usual = Self::default();
        let queues = match option.number("num-queues", AS_MANY_AS_PROCESSORS)? {
            AS_MANY_AS_PROCESSORS => None,
            0 => return Err("num-queues property must be larger than 0".to_owned()),
            // GAP: the reference takes 1024.
            many if many > MOST_QUEUES => {
                return Err(format!("num-queues={many} is not supported yet"));
            }
            some => u16::try_from(some).ok(),
        };
        let entries = option.number("queue-size", usual.queue_size.into())?;
        if entries <= 2 {
            return Err(format!(
                "invalid queue-size property ({entries}), must be > 2"
            ));
        }
        if !entries.is_power_of_two() || entries > MOST_ENTRIES {
            return Err(format!(
                "invalid queue-size property ({entries}), must be a power of 2 (max {MOST_ENTRIES})"
            ));
        }
        let place = option.properties.get("addr");
        Ok(Self {
            address: place.and_then(|text| address(text)),
            queues,
            queue_size: u16::try_from(entries).unwrap_or(usual.queue_size),
            discard: option.switch("discard", usual.discard),
            write_zeroes: option.switch("write-zeroes", usual.write_zeroes),
            config_wce: option.switch("config-wce", usual.config_wce),
            rings: option.rings(),
        })
    }
}
