//! The fuzzer's entry to target `cloop`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("cloop", data));
