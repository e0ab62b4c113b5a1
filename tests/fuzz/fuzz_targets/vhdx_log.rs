//! The fuzzer's entry to target `vhdx-log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("vhdx-log", data));
