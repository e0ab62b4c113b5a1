//! The fuzzer's entry to target `luks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("luks", data));
