//! What a PC's firmware is given: ACPI and SMBIOS tables, the memory map, kernels to boot, and the option ROM that boots
//! them. Everything here is bytes; files and devices are the machine's.
#![forbid(unsafe_code)]

pub mod acpi;
pub mod kernel;
pub mod memory_map;
pub mod rom;
pub mod smbios;
