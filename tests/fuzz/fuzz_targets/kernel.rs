//! The fuzzer's entry to target `kernel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("kernel", data));
