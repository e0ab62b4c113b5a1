//! The fuzzer's entry to target `nbd-client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("nbd-client", data));
