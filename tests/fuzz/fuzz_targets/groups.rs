//! The fuzzer's entry to target `groups`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("groups", data));
