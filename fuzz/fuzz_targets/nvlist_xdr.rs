//! Any bytes as a list in the XDR encoding.
#![no_main]

mod list;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    list::decode(&[1, 1, 0, 0], data);
});
