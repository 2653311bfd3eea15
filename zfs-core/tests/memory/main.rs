//! Reading, verifying and digesting a stream takes little memory, however long the stream is and
//! however large its blocks are. A program of its own with one test, for memory is counted by
//! process.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests"
)]

use std::io::{self, Read};

use zfs_core::digest::Digester;
use zfs_core::stream::{Fletcher4, HEADER_LEN, PassThrough};

/// What a program may have at most.
const LIMIT_KIB: u64 = 64 << 10;

/// Many small files, then large blocks: half a GiB. `HELIX_ZFS_STREAM_SCALE` multiplies both.
const FILES: u64 = 60_000;
const BLOCKS_OF_A_FILE: u64 = 3;
const SMALL: u64 = 1 << 10;
const LARGE_BLOCKS: u64 = 20;
const LARGE: u64 = 16 << 20;

#[test]
fn memory_is_bounded() {
    let scale = match std::env::var("HELIX_ZFS_STREAM_SCALE") {
        Ok(scale) => scale.parse().expect("a number"),
        Err(_) => 1,
    };
    let (files, large_blocks) = (FILES * scale, LARGE_BLOCKS * scale);
    let stream = Stream::new(files, large_blocks);
    let mut pass = PassThrough::new(stream, Digester::new());
    let mut part = vec![0; 128 << 10];
    let mut bytes = 0;
    let mut early = 0;
    loop {
        let read = pass.read(&mut part).expect("a good stream");
        if read == 0 {
            break;
        }
        bytes += read as u64;
        if early == 0 && bytes > 32 << 20 {
            early = peak_kib();
        }
    }
    let digests = pass.into_parts().1.finish().expect("a good stream");
    assert!(digests.is_complete());
    let counts = digests.content().expect("one snapshot").counts();
    assert_eq!(counts.objects, files + 1);
    assert_eq!(counts.blocks, files * BLOCKS_OF_A_FILE + large_blocks);
    let payload = files * BLOCKS_OF_A_FILE * SMALL + large_blocks * LARGE;
    assert_eq!(counts.payload, payload);
    assert!(bytes > payload);

    let peak = peak_kib();
    println!(
        "{} MiB: {early} KiB after 32 MiB, {peak} KiB at most",
        bytes >> 20
    );
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}

/// The most memory that this process has had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

/// What comes next in the stream.
#[derive(Clone, Copy)]
enum Next {
    Begin,
    Object { object: u64, block: u64 },
    Write { object: u64, block: u64 },
    End,
    Nothing,
}

/// A stream that is made while it is read, and is nowhere as a whole.
struct Stream {
    files: u64,
    large_blocks: u64,
    next: Next,
    header: [u8; HEADER_LEN],
    /// How much of the header was given out.
    given: usize,
    /// How much of the payload is to be given out yet.
    payload: usize,
    pattern: Vec<u8>,
    sum: Fletcher4,
}

const GUID: u64 = 0x1234_5678_9abc_def0;

impl Stream {
    fn new(files: u64, large_blocks: u64) -> Self {
        Self {
            files,
            large_blocks,
            next: Next::Begin,
            header: [0; HEADER_LEN],
            given: HEADER_LEN,
            payload: 0,
            pattern: (0..64_u32 << 10)
                .flat_map(|n| (n | 1).to_le_bytes())
                .collect(),
            sum: Fletcher4::new(),
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let place = self.header.get_mut(at..).unwrap_or_default();
        for (to, from) in place.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    fn put4(&mut self, at: usize, number: u32) {
        self.put(at, &number.to_le_bytes());
    }

    fn put8(&mut self, at: usize, number: u64) {
        self.put(at, &number.to_le_bytes());
    }

    fn sums(&mut self, at: usize) {
        for (n, sum) in self.sum.words().into_iter().enumerate() {
            self.put8(at + n * 8, sum);
        }
    }

    /// Makes the next record. Returns whether there is one.
    fn advance(&mut self) -> bool {
        self.header = [0; HEADER_LEN];
        self.given = 0;
        self.payload = 0;
        let mut payload = 0;
        self.next = match self.next {
            Next::Begin => {
                self.put8(8, 0x2_F5BA_CBAC);
                // A stream of one snapshot, with large blocks.
                self.put8(16, 1 | (1 << 19) << 2);
                self.put4(32, 2);
                self.put8(40, GUID);
                self.put(56, b"tank/made-up@now");
                let (object, block) = (1, SMALL);
                Next::Object { object, block }
            }
            Next::Object { object, block } => {
                payload = 168;
                self.put4(0, 1);
                self.put8(8, object);
                self.put4(16, 19);
                self.put4(20, 44);
                self.put4(24, u32::try_from(block).expect("fits"));
                self.put4(28, 168);
                self.put8(40, GUID);
                Next::Write { object, block: 0 }
            }
            Next::Write { object, block } => {
                let (blocks, size) = match object > self.files {
                    true => (self.large_blocks, LARGE),
                    false => (BLOCKS_OF_A_FILE, SMALL),
                };
                payload = size;
                self.put4(0, 3);
                self.put8(8, object);
                self.put4(16, 19);
                self.put8(24, block * size);
                self.put8(32, size);
                self.put8(40, GUID);
                let block = block + 1;
                if block < blocks {
                    Next::Write { object, block }
                } else if object > self.files {
                    Next::End
                } else {
                    let object = object + 1;
                    let block = if object > self.files { LARGE } else { SMALL };
                    Next::Object { object, block }
                }
            }
            Next::End => {
                self.put4(0, 5);
                self.sums(8);
                self.put8(40, GUID);
                Next::Nothing
            }
            Next::Nothing => return false,
        };
        let header = self.header;
        let (covered, _) = header.split_at(280);
        self.sum.update(covered);
        if !header.starts_with(&[0; 4]) {
            self.sums(280);
        }
        let header = self.header;
        let (_, checksum) = header.split_at(280);
        self.sum.update(checksum);
        self.payload = usize::try_from(payload).expect("fits");
        true
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == HEADER_LEN && self.payload == 0 && !self.advance() {
            return Ok(0);
        }
        let header = self.header.get(self.given..).unwrap_or_default();
        if !header.is_empty() {
            let length = (&*header).read(out)?;
            self.given += length;
            return Ok(length);
        }
        // Whole words, for the sum.
        let length = out.len().min(self.payload).min(self.pattern.len());
        let length = match length == self.payload {
            true => length,
            false => length / 4 * 4,
        };
        let payload = self.pattern.get(..length).unwrap_or_default();
        self.sum.update(payload);
        self.payload -= length;
        let mut payload = payload;
        payload.read(out)
    }
}
