//! Writes what fuzzing starts from, out of the corpus of real streams, to `corpus/TARGET/`.

#[path = "../zfs-core/tests/corpus/mod.rs"]
mod corpus;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

fn main() -> io::Result<()> {
    let mut count = 0;
    let mut save = |target: &str, name: String, bytes: &[u8]| -> io::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        fs::create_dir_all(&folder)?;
        count += 1;
        fs::write(folder.join(name), bytes)
    };
    for stream in corpus::streams() {
        let name = format!("{}-{}", stream.version, stream.name);
        let bytes = stream.bytes();
        let payload = stream.begins[0].payload as usize;
        if payload > 0 {
            // The targets put the header of the list before their input.
            let list = &bytes[312 + 4..312 + payload];
            let target = if stream.is_compound() {
                "nvlist_xdr"
            } else {
                "nvlist_native"
            };
            save(target, name.clone(), list)?;
        }
        if let Some(token) = stream.token {
            save("resume_token", name.clone(), token.as_bytes())?;
            let digits = token.rsplit('-').next().unwrap_or_default();
            let zlib: Vec<u8> = digits
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            let mut list = Vec::new();
            flate2::read::ZlibDecoder::new(zlib.as_slice()).read_to_end(&mut list)?;
            save("resume_token", format!("{name}-list"), &list)?;
        }
        save("stream", name, &bytes)?;
    }
    println!("{count} seeds");
    Ok(())
}
