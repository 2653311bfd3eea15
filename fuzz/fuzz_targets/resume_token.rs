//! Any bytes as a resume token: as its text, as the data in a text whose checksum is right, and as
//! the list in such data.
#![no_main]

use std::io::Write;

use zfs_core::stream::ResumeToken;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        read(text);
    }
    if let Some((length, zlib)) = data.split_first_chunk() {
        read(&text(u32::from_le_bytes(*length) as usize, zlib));
    }
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    zlib.write_all(data).expect("memory takes it");
    let zlib = zlib.finish().expect("memory takes it");
    read(&text(data.len(), &zlib));
});

fn read(text: &str) {
    let Ok(token) = ResumeToken::parse(text) else {
        return;
    };
    let again = token.to_string();
    let back = ResumeToken::parse(&again).expect("what was written can be read");
    // As text, for in floating point a value can differ from itself.
    assert_eq!(format!("{token:?}"), format!("{back:?}"));
    assert_eq!(again, back.to_string());
}

/// A token of this data, with the right checksum.
fn text(length: usize, zlib: &[u8]) -> String {
    let checksum = zlib
        .chunks_exact(4)
        .map(|word| u64::from(u32::from_le_bytes(word.try_into().expect("four bytes"))))
        .fold(0, u64::wrapping_add);
    let data: String = zlib.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("1-{checksum:x}-{length:x}-{data}")
}
