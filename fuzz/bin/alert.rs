//! libFuzzer's way to `fuzz::alert`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::alert(bytes));
