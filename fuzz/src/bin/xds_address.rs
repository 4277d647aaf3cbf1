//! libFuzzer's loop around [`fuzz::xds_address`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::xds_address(bytes));
