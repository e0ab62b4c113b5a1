//! The fuzzer's entry to target `registers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("registers", data));
