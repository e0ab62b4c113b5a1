//! The fuzzer's entry to target `nbd-server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("nbd-server", data));
