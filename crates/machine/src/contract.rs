//! What every device must do, tried on whole boards: a list of cases, one for each device at least, and the suites that they
//! go through. The fuzz targets use the same boards.
//!
//! A board here ([`Rig`]) has every device that there is for it, disks and networks in memory, and a clock that stands unless a
//! step moves it, so two boards that take the same steps are in the same state.

mod cases;
mod random;
mod rig;

use std::collections::BTreeSet;

use serde_json::{Number, Value};

pub use cases::CASES;
pub use random::{Script, seed};
pub use rig::{BOARDS, Rig};

use hw_core::HostEvent;

/// Something that a guest, time or the host does.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Writes to a port: port, bytes, value.
    Out(u16, usize, u32),
    /// Reads from a port.
    In(u16, usize),
    /// Writes memory: address, bytes, value.
    Write(u64, usize, u64),
    /// Reads memory.
    Read(u64, usize),
    /// Writes configuration space of a function: its name, offset, bytes, value.
    Config(&'static str, usize, usize, u64),
    /// So many nanoseconds pass.
    Pass(u64),
    /// The host tells all devices.
    Event(HostEvent),
    /// The backend of the first device of this name gives bytes.
    Receive(&'static str, &'static [u8]),
}

/// A device in an interesting state.
#[derive(Debug)]
pub struct Case {
    /// The device's name.
    pub device: &'static str,
    /// The board that has it; one of [`BOARDS`].
    pub board: &'static str,
    /// How it gets there.
    pub steps: &'static [Step],
    /// What a reset leaves as it was: names of fields of its saved state.
    pub kept: &'static [&'static str],
}

/// The boards' devices against the cases' list: both have to name the same.
///
/// # Panics
/// When a device has no case, or a case no device.
pub fn every_device_has_a_case() {
    let there: BTreeSet<String> = BOARDS
        .iter()
        .flat_map(|board| Rig::new(board).names())
        .collect();
    let listed: BTreeSet<String> = CASES.iter().map(|case| case.device.to_owned()).collect();
    assert_eq!(there, listed, "left: devices there are, right: cases");
    for kind in crate::device::DEVICES.iter().filter(|d| d.stands_alone()) {
        assert!(listed.contains(kind.name), "{} has no case", kind.name);
    }
}

/// A case is saved and restored into a fresh board: the saved state, the address spaces, the wires and the answers to reads are
/// the same, and stay the same for what comes later.
///
/// # Panics
/// When the device does not keep the contract.
pub fn comes_back(case: &Case) {
    let name = case.device;
    let mut first = Rig::new(case.board);
    let fresh = first.state_of(name);
    first.take(case.steps);
    let saved = first.save();
    let changed = first.state_of(name) != fresh;
    assert!(
        changed || case.steps.is_empty(),
        "{name}: the steps change nothing"
    );
    let mut second = Rig::new(case.board);
    second.follow(&first);
    second.restore(&saved).expect("its own state");
    assert_same(name, &first, &second);
    assert_eq!(first.answers(), second.answers(), "{name}: answers");
    for rig in [&mut first, &mut second] {
        rig.take(&[Step::Pass(3_000_000), Step::Pass(2_000_000_000)]);
    }
    assert_same(name, &first, &second);
}

fn assert_same(name: &str, first: &Rig, second: &Rig) {
    for ((device, one), (_, other)) in first.states().iter().zip(second.states()) {
        assert_eq!(*one, other, "{name}: state of {device}");
    }
    assert_eq!(first.spaces(), second.spaces(), "{name}: address spaces");
    assert_eq!(first.levels(), second.levels(), "{name}: wires");
}

/// A reset brings the device back to what a fresh one is, but for what the case says is kept.
///
/// # Panics
/// When the device does not keep the contract.
pub fn reset_forgets(case: &Case) {
    let name = case.device;
    let mut fresh = Rig::new(case.board);
    let mut used = Rig::new(case.board);
    used.take(case.steps);
    fresh.follow(&used);
    fresh.reset();
    used.reset();
    let without = |mut state: Value| {
        for field in case.kept {
            remove(&mut state, field);
        }
        state
    };
    assert_eq!(
        without(used.state_of(name)),
        without(fresh.state_of(name)),
        "{name}: left is after a reset, right is a fresh one"
    );
    assert_eq!(used.levels(), fresh.levels(), "{name}: wires");
}

fn remove(state: &mut Value, field: &str) {
    match state {
        Value::Object(fields) => {
            fields.remove(field);
            fields.values_mut().for_each(|value| remove(value, field));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| remove(value, field)),
        _ => {}
    }
}

/// A damaged state is refused or taken, and the device works on either way: each value of the state in turn is missing, of
/// another kind, cut, or as large as can be.
///
/// # Panics
/// When the device does.
pub fn damage_is_survived(case: &Case) {
    let mut rig = Rig::new(case.board);
    rig.take(case.steps);
    let state = rig.state_of(case.device);
    let refused = rig.restore_one(case.device, &Value::String("no record".to_owned()));
    let empty = state == Value::Null;
    assert!(refused.is_err() || empty, "{}: any text", case.device);
    let script = seed(state.to_string().len() as u64, 40);
    let mut places = Vec::new();
    walk(&state, &mut Vec::new(), &mut places);
    for place in places {
        for damage in DAMAGES {
            let mut damaged = state.clone();
            if let Some(value) = at(&mut damaged, &place) {
                damage(value);
            }
            if rig.restore_one(case.device, &damaged).is_ok() {
                Script::new(&script).run(&mut rig);
            }
        }
    }
    rig.restore_one(case.device, &state).expect("its own state");
}

/// A board that has taken the steps of the case that a byte picks.
fn picked(byte: u8) -> Option<(&'static Case, Rig)> {
    let case = CASES.get(usize::from(byte) % CASES.len())?;
    let mut rig = Rig::new(case.board);
    rig.take(case.steps);
    Some((case, rig))
}

/// For the fuzzer: the first byte picks a case, the rest is a script from there on.
///
/// # Panics
/// When a device does.
pub fn registers(data: &[u8]) {
    if let Some((case, script)) = data.split_first()
        && let Some((_, mut rig)) = picked(*case)
    {
        Script::new(script).run(&mut rig);
    }
}

/// For the fuzzer: the first byte picks a case, the rest is a state for its device as JSON text.
///
/// # Panics
/// When the device does, also in what a guest does to it afterwards.
pub fn state(data: &[u8]) {
    let Some((first, text)) = data.split_first() else {
        return;
    };
    let Ok(state) = serde_json::from_slice::<Value>(text) else {
        return;
    };
    let Some((case, mut rig)) = picked(*first) else {
        return;
    };
    if rig.restore_one(case.device, &state).is_ok() {
        Script::new(&seed(u64::from(*first), 60)).run(&mut rig);
    }
}

/// Inputs for [`registers`]: each case with a short script.
pub fn register_seeds() -> Vec<Vec<u8>> {
    let numbers = (0..=u8::MAX).take(CASES.len());
    numbers
        .map(|n| [vec![n], seed(n.into(), 40)].concat())
        .collect()
}

/// Inputs for [`state`]: the saved state of each case.
pub fn state_seeds() -> Vec<Vec<u8>> {
    let saved = (0..=u8::MAX).take(CASES.len()).filter_map(|n| {
        let (case, rig) = picked(n)?;
        let text = rig.state_of(case.device).to_string();
        Some([vec![n], text.into_bytes()].concat())
    });
    saved.collect()
}

/// Ways to damage a value.
const DAMAGES: [fn(&mut Value); 4] = [
    |value| *value = Value::Null,
    |value| *value = Value::Number(Number::from(u64::MAX)),
    |value| *value = Value::Number(Number::from(255)),
    |value| match value {
        Value::Array(values) => values.truncate(values.len() / 2),
        Value::Object(fields) => fields.clear(),
        Value::Bool(bit) => *bit = !*bit,
        Value::Number(number) => {
            let high = number.as_u64().unwrap_or(0) ^ 0x8000;
            *number = Number::from(high);
        }
        _ => {}
    },
];

/// Values of one array that are tried; the rest is like them.
const MOST_ELEMENTS: usize = 4;

/// Paths to all values, by the number of the field or element.
fn walk(state: &Value, path: &mut Vec<usize>, places: &mut Vec<Vec<usize>>) {
    places.push(path.clone());
    let inner: Vec<&Value> = match state {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(values) => values.iter().take(MOST_ELEMENTS).collect(),
        _ => Vec::new(),
    };
    for (n, value) in inner.into_iter().enumerate() {
        path.push(n);
        walk(value, path, places);
        path.pop();
    }
}

fn at<'a>(state: &'a mut Value, path: &[usize]) -> Option<&'a mut Value> {
    let Some((first, rest)) = path.split_first() else {
        return Some(state);
    };
    let inner = match state {
        Value::Object(fields) => fields.values_mut().nth(*first),
        Value::Array(values) => values.get_mut(*first),
        _ => None,
    };
    at(inner?, rest)
}
