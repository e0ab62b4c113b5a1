//! The fuzzer's entry to target `vpc-child`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::run("vpc-child", data));
