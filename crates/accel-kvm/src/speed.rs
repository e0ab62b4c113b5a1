//! How fast the guest's instructions run: some hosts offer KVM without hardware for it, and emulate.

use std::io;
use std::time::{Duration, Instant};

use accel_core::{Accel, Exit, Quiet, Registers, Slot};
use guest_mem::{PAGE, Ram};

use crate::KvmAccel;

/// mov cx,2000; loop $; hlt
const CODE: [u8; 6] = [0xb9, 0xd0, 0x07, 0xe2, 0xfe, 0xf4];
/// Two thousand rounds take microseconds on hardware, and milliseconds without.
pub(crate) const TOO_LONG: Duration = Duration::from_micros(900);

/// How long the loop takes.
pub(crate) fn loop_time() -> io::Result<Duration> {
    let accel = KvmAccel::new()?;
    let ram = Ram::new(PAGE)?;
    ram.write(0, &CODE)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    accel.map(&[Slot::in_place(&ram, 0, PAGE)])?;
    let mut cpu = accel.processor(0)?;
    cpu.reset()?;
    cpu.set_registers(&Registers::real_mode(0))?;
    let start = Instant::now();
    match cpu.run(&mut Quiet) {
        Exit::Halt => Ok(start.elapsed()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}
