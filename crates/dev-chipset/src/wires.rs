//! Numbers of a machine's wires ([`hw_core::Lines`]): who drives what.

/// Global system interrupts are wires 0 to 23.
pub const GSI: usize = 0;
/// Output of the interval timer's first channel.
pub const PIT: usize = 24;
/// Interrupt of the real-time clock.
pub const RTC: usize = 25;
/// The PCI bus's interrupt wires, eight on boards that have so many.
pub const PIRQ: usize = 32;
/// Address bit 20 is let through while this is high.
pub const A20: usize = 40;
/// Non-maskable interrupt.
pub const NMI: usize = 41;
/// System management interrupt.
pub const SMI: usize = 42;
/// How many wires there are.
pub const COUNT: usize = 48;
