//! Any bytes as a list in the native encoding.
#![no_main]

mod list;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Little-endian, as the machines are that fuzz; others are refused by the first bytes.
    list::decode(&[0, 1, 0, 0], data);
});
