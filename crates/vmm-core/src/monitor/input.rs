//! Keys that the monitors press.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hw_core::HostEvent;
use machine::Machine;
use monitor_core::Command;
use qapi::record::{Any, Record};
use qapi::{Error, Result, Value};

use super::{Nothing, Vm, ask};

#[derive(Debug, Record)]
struct SendKey {
    keys: Vec<Any>,
    hold_time: Option<i64>,
}

#[derive(Debug, Record)]
struct MouseInfo {
    name: String,
    index: i64,
    current: bool,
    absolute: bool,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    ask!("send-key", SendKey => Nothing, |vm: &Vm, wanted: SendKey| send_key(vm, &wanted)),
    ask!("query-mice", Nothing => Vec<MouseInfo>, |vm: &Vm, _| Ok(mice(vm))),
];

/// How long after a key the next comes unless the user says.
const HOLD_MS: u32 = 10;
/// Presses and releases that wait at most.
const MOST_WAITING: usize = 1024;
/// Keys pressed together at most.
const MOST_KEYS: usize = 16;

/// Names of keys with their numbers in scan code set 1; 0x80 stands for the prefix 0xe0.
const KEYS: &[(&str, u8)] = &[
    ("shift", 0x2a),
    ("shift_r", 0x36),
    ("alt", 0x38),
    ("alt_r", 0xb8),
    ("ctrl", 0x1d),
    ("ctrl_r", 0x9d),
    ("menu", 0xdd),
    ("esc", 0x01),
    ("1", 0x02),
    ("2", 0x03),
    ("3", 0x04),
    ("4", 0x05),
    ("5", 0x06),
    ("6", 0x07),
    ("7", 0x08),
    ("8", 0x09),
    ("9", 0x0a),
    ("0", 0x0b),
    ("minus", 0x0c),
    ("equal", 0x0d),
    ("backspace", 0x0e),
    ("tab", 0x0f),
    ("q", 0x10),
    ("w", 0x11),
    ("e", 0x12),
    ("r", 0x13),
    ("t", 0x14),
    ("y", 0x15),
    ("u", 0x16),
    ("i", 0x17),
    ("o", 0x18),
    ("p", 0x19),
    ("bracket_left", 0x1a),
    ("bracket_right", 0x1b),
    ("ret", 0x1c),
    ("a", 0x1e),
    ("s", 0x1f),
    ("d", 0x20),
    ("f", 0x21),
    ("g", 0x22),
    ("h", 0x23),
    ("j", 0x24),
    ("k", 0x25),
    ("l", 0x26),
    ("semicolon", 0x27),
    ("apostrophe", 0x28),
    ("grave_accent", 0x29),
    ("backslash", 0x2b),
    ("z", 0x2c),
    ("x", 0x2d),
    ("c", 0x2e),
    ("v", 0x2f),
    ("b", 0x30),
    ("n", 0x31),
    ("m", 0x32),
    ("comma", 0x33),
    ("dot", 0x34),
    ("slash", 0x35),
    ("asterisk", 0x37),
    ("kp_multiply", 0x37),
    ("spc", 0x39),
    ("caps_lock", 0x3a),
    ("f1", 0x3b),
    ("f2", 0x3c),
    ("f3", 0x3d),
    ("f4", 0x3e),
    ("f5", 0x3f),
    ("f6", 0x40),
    ("f7", 0x41),
    ("f8", 0x42),
    ("f9", 0x43),
    ("f10", 0x44),
    ("num_lock", 0x45),
    ("scroll_lock", 0x46),
    ("kp_divide", 0xb5),
    ("kp_subtract", 0x4a),
    ("kp_add", 0x4e),
    ("kp_enter", 0x9c),
    ("kp_decimal", 0x53),
    ("sysrq", 0x54),
    ("kp_0", 0x52),
    ("kp_1", 0x4f),
    ("kp_2", 0x50),
    ("kp_3", 0x51),
    ("kp_4", 0x4b),
    ("kp_5", 0x4c),
    ("kp_6", 0x4d),
    ("kp_7", 0x47),
    ("kp_8", 0x48),
    ("kp_9", 0x49),
    ("less", 0x56),
    ("f11", 0x57),
    ("f12", 0x58),
    ("f13", 0x5d),
    ("f14", 0x5e),
    ("f15", 0x5f),
    ("f16", 0x55),
    ("f17", 0x83),
    ("f18", 0xf7),
    ("f19", 0x84),
    ("f20", 0x5a),
    ("f21", 0x74),
    ("f22", 0xf9),
    ("f23", 0x6d),
    ("f24", 0x6f),
    ("print", 0x54),
    ("home", 0xc7),
    ("pgup", 0xc9),
    ("pgdn", 0xd1),
    ("end", 0xcf),
    ("left", 0xcb),
    ("up", 0xc8),
    ("down", 0xd0),
    ("right", 0xcd),
    ("insert", 0xd2),
    ("delete", 0xd3),
    ("stop", 0xe8),
    ("again", 0x85),
    ("props", 0x86),
    ("undo", 0x87),
    ("front", 0x8c),
    ("copy", 0xf8),
    ("open", 0x64),
    ("paste", 0x65),
    ("find", 0xc1),
    ("cut", 0xbc),
    ("lf", 0x5b),
    ("help", 0xf5),
    ("meta_l", 0xdb),
    ("meta_r", 0xdc),
    ("compose", 0xdd),
    ("pause", 0xc6),
    ("ro", 0x73),
    ("hiragana", 0x77),
    ("henkan", 0x79),
    ("yen", 0x7d),
    ("muhenkan", 0x7b),
    ("katakanahiragana", 0x70),
    ("kp_comma", 0x7e),
    ("kp_equals", 0x59),
    ("power", 0xde),
    ("sleep", 0xdf),
    ("wake", 0xe3),
    ("audionext", 0x99),
    ("audioprev", 0x90),
    ("audiostop", 0xa4),
    ("audioplay", 0xa2),
    ("audiomute", 0xa0),
    ("volumeup", 0xb0),
    ("volumedown", 0xae),
    ("mediaselect", 0xed),
    ("mail", 0xec),
    ("calculator", 0xa1),
    ("computer", 0xeb),
    ("ac_home", 0xb2),
    ("ac_back", 0xea),
    ("ac_forward", 0xe9),
    ("ac_refresh", 0xe7),
    ("ac_bookmarks", 0xe6),
    ("lang1", 0x72),
    ("lang2", 0x71),
];

fn by_name(name: &str) -> Option<u8> {
    let found = KEYS.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number)
}

/// A key on its way to the keyboard.
struct Stroke {
    key: u8,
    down: bool,
    /// How long nothing follows it.
    rest: Duration,
}

/// Keys on their way: one after the other, whoever sends them, so that those of one command are let go of before those of
/// the next are pressed.
#[derive(Default)]
pub(crate) struct Keys(Mutex<Option<SyncSender<Stroke>>>);

impl Keys {
    /// Sends one; what finds no room is lost, as in a keyboard's own queue.
    fn send(&self, machine: &Machine, stroke: Stroke) -> Result<()> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = match &mut *queue {
            Some(queue) => queue,
            none => none.insert(start(machine.clone())?),
        };
        let _ = queue.try_send(stroke);
        Ok(())
    }
}

/// Starts the thread that hands keys to the machine; whoever sends them does not wait.
fn start(machine: Machine) -> Result<SyncSender<Stroke>> {
    let (sender, strokes) = sync_channel::<Stroke>(MOST_WAITING);
    let run = move || {
        for stroke in strokes {
            machine.with(|core| core.host_event(HostEvent::Key(stroke.key, stroke.down)));
            std::thread::sleep(stroke.rest);
        }
    };
    let thread = std::thread::Builder::new().name("keys".to_owned());
    let started = thread.spawn(run);
    started.map_err(|error| Error::from_io("threads", &error))?;
    Ok(sender)
}

/// Presses keys one after the other and lets go of them the other way round, each a while after the one before.
fn press(vm: &Vm, keys: &[u8], hold_ms: Option<i64>) -> Result<()> {
    let ms = hold_ms.and_then(|ms| u32::try_from(ms).ok());
    let ms = ms.filter(|ms| *ms > 0).unwrap_or(HOLD_MS);
    let rest = Duration::from_millis(u64::from(ms));
    let downs = keys.iter().map(|key| (*key, true));
    let ups = keys.iter().rev().map(|key| (*key, false));
    for (key, down) in downs.chain(ups) {
        vm.keys.send(&vm.machine, Stroke { key, down, rest })?;
    }
    Ok(())
}

fn send_key(vm: &Vm, wanted: &SendKey) -> Result<Nothing> {
    let mut keys = Vec::new();
    for (n, Any(key)) in wanted.keys.iter().enumerate() {
        let Value::Dict(key) = key else {
            let text = format!("Invalid parameter type for 'keys[{n}]', expected: object");
            return Err(Error::new(text));
        };
        let number = match (key.get_str("type"), key.get("data")) {
            (Some("qcode"), Some(Value::Str(name))) => by_name(name).ok_or_else(|| {
                Error::new(format!("Parameter 'data' does not accept value '{name}'"))
            })?,
            (Some("number"), Some(Value::Int(number))) => {
                u8::try_from(*number).map_err(|_| Error::new("keys are numbered below 256"))?
            }
            (Some("qcode" | "number"), _) => {
                let text = format!("Parameter 'keys[{n}].data' is missing");
                return Err(Error::new(text));
            }
            (Some(other), _) => {
                let text = format!("Parameter 'type' does not accept value '{other}'");
                return Err(Error::new(text));
            }
            (None, _) => {
                let text = format!("Parameter 'keys[{n}].type' is missing");
                return Err(Error::new(text));
            }
        };
        keys.push(number);
    }
    press(vm, &keys, wanted.hold_time)?;
    Ok(Nothing {})
}

/// What `sendkey` does: names or raw numbers, joined by `-`.
pub(super) fn send_line(vm: &Vm, line: &str, hold_ms: Option<i64>) -> Result<String> {
    // A lone minus is a key; elsewhere it joins.
    let words: Vec<&str> = if line == "-" {
        vec!["minus"]
    } else {
        line.split('-').collect()
    };
    let mut keys = Vec::new();
    for word in words {
        let raw = word.strip_prefix("0x");
        let name = if word == "<" { "less" } else { word };
        let found = match raw {
            Some(digits) => u8::from_str_radix(digits, 16).ok(),
            None => by_name(name),
        };
        let Some(key) = found else {
            return Ok(format!("invalid parameter: {word}\n"));
        };
        if keys.len() == MOST_KEYS {
            return Ok("too many keys\n".to_owned());
        }
        keys.push(key);
    }
    press(vm, &keys, hold_ms)?;
    Ok(String::new())
}

fn mice(vm: &Vm) -> Vec<MouseInfo> {
    let board = machine::find_board(&vm.plan.machine).map_or("", |(board, _)| board.name);
    if !matches!(board, "pc" | "q35") {
        return Vec::new();
    }
    vec![MouseInfo {
        name: "QEMU PS/2 Mouse".to_owned(),
        index: 2,
        current: true,
        absolute: false,
    }]
}

/// What `info mice` prints.
pub(super) fn mice_text(vm: &Vm) -> String {
    let all = mice(vm);
    if all.is_empty() {
        return "No mouse devices connected\n".to_owned();
    }
    let line = |mouse: &MouseInfo| format!("* Mouse #{}: {}\n", mouse.index, mouse.name);
    all.iter().map(line).collect()
}
