//! The fuzzer's entry to target `device-state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("device-state", data));
