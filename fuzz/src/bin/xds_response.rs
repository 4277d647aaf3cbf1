//! libFuzzer's loop around [`fuzz::xds_response`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::xds_response(bytes));
