//! Commands of the human monitor.

use std::sync::atomic::Ordering;

use monitor_core::hmp::{Arg, Args, HmpCommand, Kind, Printed};
use qapi::{Error, Result};

use super::Seat;
use crate::monitor::memory::View;
use crate::monitor::{about, chardevs, control, dump, input, memory, shown};

/// A row; the body answers at once.
const fn row(
    name: &'static str,
    args: &'static [Arg],
    params: &'static str,
    help: &'static str,
    run: for<'a> fn(&'a Seat, Args) -> Printed<'a>,
) -> HmpCommand<Seat> {
    HmpCommand {
        name,
        args,
        params,
        help,
        run,
    }
}

/// What a command prints that needs no waiting.
macro_rules! say {
    ($run:expr) => {
        |seat, args| {
            let run: fn(&Seat, &Args) -> Result<String> = $run;
            let said = run(seat, &args);
            Box::pin(std::future::ready(said))
        }
    };
}
pub(super) use say;

fn silent<T>(result: Result<T>) -> Result<String> {
    result.map(|_| String::new())
}

pub(super) const CONTROL: &[HmpCommand<Seat>] = &[
    row(
        "quit|q",
        &[],
        "",
        "quit the emulator",
        say!(|seat, _| {
            seat.ended.store(true, Ordering::Release);
            seat.vm.quit();
            Ok(String::new())
        }),
    ),
    row(
        "stop|s",
        &[],
        "",
        "stop emulation",
        say!(|seat, _| silent(control::stop(&seat.vm))),
    ),
    row(
        "cont|c",
        &[],
        "",
        "resume emulation",
        say!(|seat, _| silent(control::cont(&seat.vm))),
    ),
    row(
        "system_reset",
        &[],
        "",
        "reset the system",
        say!(|seat, _| {
            seat.vm.user_reset();
            Ok(String::new())
        }),
    ),
    row(
        "system_powerdown",
        &[],
        "",
        "send system power down event",
        say!(|seat, _| {
            seat.vm.power_button();
            Ok(String::new())
        }),
    ),
    row(
        "system_wakeup",
        &[],
        "",
        "wakeup guest from suspend",
        say!(|seat, _| silent(control::wake_up(&seat.vm))),
    ),
    row(
        "nmi",
        &[],
        "",
        "inject an NMI",
        say!(|seat, _| {
            control::inject_nmi(&seat.vm);
            Ok(String::new())
        }),
    ),
    row(
        "cpu",
        &[Arg::needed("index", Kind::Int)],
        "index",
        "set the default CPU",
        say!(cpu),
    ),
    row(
        "sendkey",
        &[
            Arg::needed("keys", Kind::Word),
            Arg::optional("hold-time", Kind::Int),
        ],
        "keys [hold_ms]",
        "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)",
        say!(|seat, args| {
            let keys = args.text("keys").unwrap_or("");
            input::send_line(&seat.vm, keys, args.number("hold-time"))
        }),
    ),
    row(
        "balloon",
        &[Arg::needed("value", Kind::Mebibytes)],
        "target",
        "request VM to change its memory allocation (in MB)",
        say!(|_, _| Err(about::no_balloon())),
    ),
];

pub(super) const MEMORY: &[HmpCommand<Seat>] = &[
    row(
        "x",
        &[
            Arg::optional("fmt", Kind::Format),
            Arg::needed("addr", Kind::Long),
        ],
        "/fmt addr",
        "virtual memory dump starting at 'addr'",
        say!(|seat, args| { show(seat, args, View::Virtual(seat.cpu())) }),
    ),
    row(
        "xp",
        &[
            Arg::optional("fmt", Kind::Format),
            Arg::needed("addr", Kind::Long),
        ],
        "/fmt addr",
        "physical memory dump starting at 'addr'",
        say!(|seat, args| { show(seat, args, View::Physical) }),
    ),
    row(
        "print|p",
        &[
            Arg::optional("fmt", Kind::Format),
            Arg::needed("val", Kind::Long),
        ],
        "/fmt expr",
        "print expression value (use $reg for CPU register access)",
        say!(|seat, args| {
            let letter = seat.vm.last_format().chosen(args.format("fmt")).0;
            Ok(format!(
                "{}\n",
                dump::plain(args.number("val").unwrap_or(0), letter)
            ))
        }),
    ),
    row(
        "i",
        &[
            Arg::optional("fmt", Kind::Format),
            Arg::needed("addr", Kind::Int),
            Arg::optional("index", Kind::Int),
        ],
        "/fmt addr",
        "I/O port read",
        say!(port_read),
    ),
    row(
        "o",
        &[
            Arg::optional("fmt", Kind::Format),
            Arg::needed("addr", Kind::Int),
            Arg::needed("val", Kind::Int),
        ],
        "/fmt addr value",
        "I/O port write",
        say!(port_write),
    ),
    row(
        "gva2gpa",
        &[Arg::needed("addr", Kind::Long)],
        "addr",
        "print the guest physical address corresponding to a guest virtual address",
        say!(gva2gpa),
    ),
    row(
        "memsave",
        &[
            Arg::needed("val", Kind::Long),
            Arg::needed("size", Kind::Int),
            Arg::needed("filename", Kind::Word),
        ],
        "addr size file",
        "save to disk virtual memory dump starting at 'addr' of size 'size'",
        say!(|seat, args| save(seat, args, View::Virtual(seat.cpu()))),
    ),
    row(
        "pmemsave",
        &[
            Arg::needed("val", Kind::Long),
            Arg::needed("size", Kind::Int),
            Arg::needed("filename", Kind::Word),
        ],
        "addr size file",
        "save to disk physical memory dump starting at 'addr' of size 'size'",
        say!(|seat, args| save(seat, args, View::Physical)),
    ),
    row(
        "sum",
        &[
            Arg::needed("start", Kind::Int),
            Arg::needed("size", Kind::Int),
        ],
        "addr size",
        "compute the checksum of a memory region",
        say!(sum),
    ),
];

pub(super) const DEVICES: &[HmpCommand<Seat>] = &[
    row(
        "ringbuf_read",
        &[
            Arg::needed("device", Kind::Word),
            Arg::needed("size", Kind::Int),
        ],
        "device size",
        "Read from a ring buffer character device",
        say!(|seat, args| {
            let device = args.text("device").unwrap_or("");
            chardevs::ring_text(&seat.vm, device, args.number("size").unwrap_or(0))
        }),
    ),
    row(
        "ringbuf_write",
        &[
            Arg::needed("device", Kind::Word),
            Arg::needed("data", Kind::Word),
        ],
        "device data",
        "Write to a ring buffer character device",
        say!(|seat, args| {
            let device = args.text("device").unwrap_or("");
            silent(chardevs::ring_put(
                &seat.vm,
                device,
                args.text("data").unwrap_or(""),
            ))
        }),
    ),
];

fn cpu(seat: &Seat, args: &Args) -> Result<String> {
    let n = args.number("index").and_then(|n| usize::try_from(n).ok());
    match n.filter(|n| *n < seat.vm.machine.processors()) {
        Some(n) => {
            seat.cpu.store(n, Ordering::Release);
            Ok(String::new())
        }
        None => Ok("invalid CPU index\n".to_owned()),
    }
}

fn show(seat: &Seat, args: &Args, view: View) -> Result<String> {
    let bits = seat
        .registers()
        .map_or(32, |registers| shown::code_bits(&registers));
    let start = args.number("addr").unwrap_or(0).cast_unsigned();
    let mut last = seat.vm.last_format();
    let format = args.format("fmt");
    Ok(dump::memory(&seat.vm, view, start, format, &mut last, bits))
}

/// Letter and bytes of an access to a port.
fn access(seat: &Seat, args: &Args) -> (char, u8) {
    match seat.vm.last_format().chosen(args.format("fmt")).1 {
        2 => ('w', 2),
        4 => ('l', 4),
        _ => ('b', 1),
    }
}

fn port(args: &Args) -> u16 {
    let number = args.number("addr").unwrap_or(0) & 0xffff;
    u16::try_from(number).unwrap_or(0)
}

fn port_read(seat: &Seat, args: &Args) -> Result<String> {
    let (letter, bytes) = access(seat, args);
    let port = port(args);
    let index = args
        .number("index")
        .map(|index| u8::try_from(index & 0xff).unwrap_or(0));
    let value = seat.vm.machine.port(port, usize::from(bytes), index);
    let width = usize::from(bytes) * 2;
    Ok(format!("port{letter}[0x{port:04x}] = 0x{value:0width$x}\n"))
}

fn port_write(seat: &Seat, args: &Args) -> Result<String> {
    let (_, bytes) = access(seat, args);
    let value = args.number("val").unwrap_or(0) & 0xffff_ffff;
    let value = u32::try_from(value).unwrap_or(0);
    seat.vm
        .machine
        .set_port(port(args), usize::from(bytes), value);
    Ok(String::new())
}

fn gva2gpa(seat: &Seat, args: &Args) -> Result<String> {
    let address = args.number("addr").unwrap_or(0).cast_unsigned();
    let registers = seat.registers()?;
    Ok(match memory::translate(&seat.vm, &registers, address) {
        Some(at) => format!("gpa: {at:#x}\n"),
        None => "Unmapped\n".to_owned(),
    })
}

fn save(seat: &Seat, args: &Args, view: View) -> Result<String> {
    let start = args.number("val").unwrap_or(0).cast_unsigned();
    let range = (start, args.number("size").unwrap_or(0));
    silent(memory::save(
        &seat.vm,
        view,
        range,
        args.text("filename").unwrap_or(""),
    ))
}

/// BSD's checksum: the sum so far turned right by one bit, and the next byte added.
fn sum(seat: &Seat, args: &Args) -> Result<String> {
    let start = args.number("start").unwrap_or(0).cast_unsigned();
    let size = args
        .number("size")
        .and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size <= 1 << 30);
    let size = size.ok_or_else(|| Error::new("size must be between 0 and 1 GiB"))?;
    let mut bytes = vec![0; size];
    memory::read(&seat.vm, View::Physical, start, &mut bytes);
    let sum = bytes.iter().fold(0_u16, |sum, byte| {
        sum.rotate_right(1).wrapping_add(u16::from(*byte))
    });
    Ok(format!("{sum:05}\n"))
}
