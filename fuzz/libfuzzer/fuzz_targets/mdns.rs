//! `mdns` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| villein_fuzz::run("mdns", bytes));
