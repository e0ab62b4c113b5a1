//! The commands: a list.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Qtest;
use super::words::{hex, number, unhex};

/// What an access gives; the error goes behind FAIL.
type Answer = Result<String, String>;

struct Command {
    name: &'static str,
    run: fn(&Qtest, &[&str]) -> Answer,
}

const fn command(name: &'static str, run: fn(&Qtest, &[&str]) -> Answer) -> Command {
    Command { name, run }
}

/// Most bytes of one transfer.
const MOST: u64 = 64 << 20;

const COMMANDS: &[Command] = &[
    command("outb", |q, w| port_out(q, w, 1)),
    command("outw", |q, w| port_out(q, w, 2)),
    command("outl", |q, w| port_out(q, w, 4)),
    command("inb", |q, w| port_in(q, w, 1)),
    command("inw", |q, w| port_in(q, w, 2)),
    command("inl", |q, w| port_in(q, w, 4)),
    command("writeb", |q, w| store(q, w, 1)),
    command("writew", |q, w| store(q, w, 2)),
    command("writel", |q, w| store(q, w, 4)),
    command("writeq", |q, w| store(q, w, 8)),
    command("readb", |q, w| load(q, w, 1)),
    command("readw", |q, w| load(q, w, 2)),
    command("readl", |q, w| load(q, w, 4)),
    command("readq", |q, w| load(q, w, 8)),
    command("read", |q, w| Ok(hex(&fetch(q, w)?))),
    command("b64read", |q, w| Ok(STANDARD.encode(fetch(q, w)?))),
    command("write", |q, w| {
        let (at, bytes) = stretch(w)?;
        put(q, at, bytes, &unhex(w.get(2))?)
    }),
    command("b64write", |q, w| {
        let (at, bytes) = stretch(w)?;
        let text = w.get(2).ok_or("an argument is missing")?;
        let data = STANDARD.decode(text).map_err(|error| error.to_string())?;
        put(q, at, bytes, &data)
    }),
    command("memset", |q, w| {
        let (at, bytes) = stretch(w)?;
        let value = number(w.get(2))?.to_le_bytes()[0];
        let length = usize::try_from(bytes).unwrap_or(0);
        put(q, at, bytes, &vec![value; length])
    }),
    command("endianness", |_, _| Ok("little".to_owned())),
    command("clock_step", |q, w| match w.first() {
        Some(_) => step(q, Some(number(w.first())?)),
        None => step(q, None),
    }),
    command("clock_set", |q, w| {
        let at = number(w.first())?;
        let now = q.machine.guest_time();
        step(q, Some(at.saturating_sub(now)))
    }),
    command("irq_intercept_in", intercept),
    // GAP: lines of single devices; what all of them lead to is the I/O APIC's inputs.
    command("irq_intercept_out", |_, _| Err("Unknown device".to_owned())),
    command("set_irq_in", |_, _| Err("Unknown device".to_owned())),
];

/// Runs a command.
pub(super) fn run(qtest: &Qtest, name: &str, words: &[&str]) -> Answer {
    let found = COMMANDS.iter().find(|command| command.name == name);
    // Where time runs by itself, nobody moves it.
    let found =
        found.filter(|command| !command.name.starts_with("clock_") || qtest.machine.time_by_hand());
    let command = found.ok_or_else(|| format!("Unknown command '{name}'"))?;
    (command.run)(qtest, words)
}

fn port(words: &[&str]) -> Result<u16, String> {
    let number = number(words.first())?;
    u16::try_from(number).map_err(|_| format!("port {number:#x} does not exist"))
}

fn port_out(qtest: &Qtest, words: &[&str], bytes: usize) -> Answer {
    let value = number(words.get(1))?;
    let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    qtest.machine.set_port(port(words)?, bytes, low);
    Ok(String::new())
}

fn port_in(qtest: &Qtest, words: &[&str], bytes: usize) -> Answer {
    let value = qtest.machine.port(port(words)?, bytes, None);
    Ok(format!("0x{value:04x}"))
}

fn store(qtest: &Qtest, words: &[&str], bytes: usize) -> Answer {
    let (at, value) = (number(words.first())?, number(words.get(1))?);
    qtest.machine.store(at, bytes, value);
    Ok(String::new())
}

fn load(qtest: &Qtest, words: &[&str], bytes: usize) -> Answer {
    let value = qtest.machine.load(number(words.first())?, bytes);
    Ok(format!("0x{value:016x}"))
}

/// Address and size of a transfer.
fn stretch(words: &[&str]) -> Result<(u64, u64), String> {
    let (at, bytes) = (number(words.first())?, number(words.get(1))?);
    if bytes > MOST {
        return Err(format!("more than {MOST} bytes at once"));
    }
    Ok((at, bytes))
}

/// The widest access from here that stays within `left` bytes and is aligned.
fn width(at: u64, left: u64) -> usize {
    let fits = |bytes: &usize| {
        let bytes = *bytes as u64;
        at.is_multiple_of(bytes) && bytes <= left
    };
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

fn fetch(qtest: &Qtest, words: &[&str]) -> Result<Vec<u8>, String> {
    let (mut at, bytes) = stretch(words)?;
    let mut data = Vec::new();
    while (data.len() as u64) < bytes {
        let part = width(at, bytes - data.len() as u64);
        let value = qtest.machine.load(at, part).to_le_bytes();
        data.extend(&value[..part]);
        at = at.wrapping_add(part as u64);
    }
    Ok(data)
}

/// Writes `bytes` bytes: `data`, and zeroes where it is shorter.
fn put(qtest: &Qtest, mut at: u64, bytes: u64, data: &[u8]) -> Answer {
    let mut done = 0;
    while done < bytes {
        let part = width(at, bytes - done);
        let mut value = [0; 8];
        for (slot, n) in value[..part].iter_mut().zip(done..) {
            let from = usize::try_from(n).ok().and_then(|n| data.get(n));
            *slot = from.copied().unwrap_or(0);
        }
        qtest.machine.store(at, part, u64::from_le_bytes(value));
        at = at.wrapping_add(part as u64);
        done += part as u64;
    }
    Ok(String::new())
}

/// Moves guest time on by nanoseconds, or to the next time at which something is due.
fn step(qtest: &Qtest, by: Option<u64>) -> Answer {
    let moved = qtest.machine.step_time(by);
    let now = moved
        .ok_or("cannot advance clock to the next deadline because there is no pending deadline")?;
    Ok(now.to_string())
}

fn intercept(qtest: &Qtest, words: &[&str]) -> Answer {
    match words.first() {
        Some(&"ioapic") => {
            qtest.tell_interrupts();
            Ok(String::new())
        }
        _ => Err("Unknown device".to_owned()),
    }
}
