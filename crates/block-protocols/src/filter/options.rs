//! Options of filters with types, from texts or from JSON.

use qapi::{Dict, Error, Value, opts};

/// Takes an integer that has to fit 32 bits; larger ones lose their upper half, as in QEMU.
pub(super) fn take_small(options: &mut Dict, name: &str) -> qapi::Result<Option<u32>> {
    let low = |n: u64| u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0);
    Ok(opts::take_number(options, name)?.map(low))
}

/// Takes a list: a JSON array, or entries called `0`, `1`...; empty when there is none.
///
/// # Errors
/// When an entry is missing or the names are others.
pub(super) fn take_list(options: &mut Dict, name: &str) -> qapi::Result<Vec<Value>> {
    match options.remove(name) {
        None => Ok(Vec::new()),
        Some(Value::List(list)) => Ok(list),
        Some(Value::Dict(mut numbered)) => {
            let mut list = Vec::new();
            while let Some(value) = numbered.remove(&list.len().to_string()) {
                list.push(value);
            }
            match numbered.iter().next() {
                None => Ok(list),
                Some((key, _)) => Err(Error::new(format!("Unused option '{name}.{key}'"))),
            }
        }
        Some(other) => Ok(vec![other]),
    }
}
