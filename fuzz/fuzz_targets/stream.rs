//! Any bytes as a stream: as they are, and with the checksums made right so that more than the first
//! record is reached.
#![no_main]

#[path = "../../zfs-core/tests/corpus/seal.rs"]
mod seal;

use std::io::Read;

use zfs_core::digest::{Digester, Digests};
use zfs_core::stream::{
    Begin, Observer, PassThrough, ReadOptions, Record, SliceReader, StreamReader,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    read(data, ReadOptions::new());
    let mut sealed = data.to_vec();
    seal::seal(&mut sealed);
    read(&sealed, ReadOptions::new());
    read(&sealed, ReadOptions::new().allow_missing_end(true));
});

/// The three ways to read a stream must find the same in it.
fn read(bytes: &[u8], options: ReadOptions) {
    if let Some(header) = bytes.first_chunk() {
        let _ = Begin::parse(header);
    }
    let mut slice = SliceReader::with_options(bytes, options);
    let mut reader = StreamReader::with_options(Crumbs(bytes, 0), options);
    let mut length = 0;
    let mut digester = Digester::new();
    let error = loop {
        match (slice.next_record(), reader.next_record()) {
            (Ok(Some(record)), Ok(Some(other))) => {
                assert_eq!(record.offset, length as u64);
                let end = length + record.header.len() + record.payload.len();
                let whole = [record.header.as_slice(), record.payload].concat();
                assert_eq!(bytes.get(length..end), Some(whole.as_slice()));
                assert_eq!(record.body.payload_len(), record.payload.len() as u64);
                length = end;
                digester.record(&record);
                assert!(same(&record, &other), "{record:?}\n{other:?}");
            }
            (Ok(None), Ok(None)) => break None,
            (Err(one), Err(other)) => {
                assert_eq!(one.to_string(), other.to_string());
                break Some(one.to_string());
            }
            (one, other) => panic!("{one:?}\n{other:?}"),
        }
    };
    assert_eq!(slice.is_complete(), reader.is_complete());

    let mut out = Vec::new();
    let mut pass = PassThrough::with_options(Crumbs(bytes, 0), Digester::new(), options);
    let result = pass.read_to_end(&mut out);
    assert_eq!(out, bytes[..length], "only whole records come out");
    assert_eq!(result.err().map(|error| error.to_string()), error);
    let (_, other) = pass.into_parts();
    assert_eq!(digests(digester), digests(other));
}

/// What the digests are, or why there are none.
fn digests(digester: Digester) -> Result<String, String> {
    let describe = |digests: Digests| {
        let contents = digests.contents().iter().map(|content| {
            assert_eq!(content.differences(content), []);
            format!(" {} {:?}", content.root(), content.counts())
        });
        digests.transport().root().to_string() + &contents.collect::<String>()
    };
    let digests = digester.finish().map_err(|error| error.to_string());
    digests.map(describe)
}

fn same(one: &Record<'_>, other: &Record<'_>) -> bool {
    one.number == other.number
        && one.offset == other.offset
        && one.header == other.header
        && one.payload == other.payload
        // As text, for in floating point a value can differ from itself.
        && (one.body == other.body || format!("{:?}", one.body) == format!("{:?}", other.body))
}

/// Gives a few bytes at a time.
struct Crumbs<'a>(&'a [u8], usize);

impl Read for Crumbs<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.1 += 1;
        let most = out.len().min([1000, 312, 40_000, 7][self.1 % 4]);
        self.0.read(&mut out[..most])
    }
}
