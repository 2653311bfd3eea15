//! How a [`StreamReader`] treats what it reads from.

use std::io::{self, ErrorKind, Read};

use zfs_core::stream::{ByteOrder, Problem, ReadOptions, RecordType, StreamReader};

use crate::build::{Build, small};
use crate::{collect, corpus};

/// Gives out some bytes at a time, and `Interrupted` in between.
struct Slow<'a> {
    bytes: &'a [u8],
    at_once: usize,
    interrupt: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(ErrorKind::Interrupted.into());
        }
        let len = out.len().min(self.at_once);
        self.bytes.read(&mut out[..len])
    }
}

#[test]
fn it_does_not_matter_how_bytes_arrive() {
    let bytes = corpus::stream("2.3", "raw-incremental").bytes();
    for at_once in [1, 7, 311, 312, 313, 4096, usize::MAX] {
        let slow = Slow {
            bytes: &bytes,
            at_once,
            interrupt: false,
        };
        let (seen, error) = collect(slow, ReadOptions::new());
        assert!(error.is_none(), "{error:?}");
        assert_eq!(seen.concat(), bytes);
    }
}

#[test]
fn nothing_after_the_end_is_read() {
    let plain = small().bytes;
    let mut compound = Build::new(ByteOrder::Little);
    compound.begin(2, &[]).header_end();
    compound.begin(1, &[]).write(&[1; 64]).end().closing_end();
    let mut bytes = plain.clone();
    bytes.extend_from_slice(&compound.bytes);
    bytes.extend_from_slice(&plain);
    bytes.extend_from_slice(b"and more");

    let mut input = &bytes[..];
    for expected in [&plain, &compound.bytes, &plain] {
        let mut reader = StreamReader::new(&mut input);
        let mut len = 0;
        while let Some(record) = reader.next_record().unwrap() {
            assert_eq!(record.offset, len as u64);
            len += record.bytes().len();
        }
        assert!(reader.is_complete());
        assert_eq!(reader.offset(), len as u64);
        assert!(reader.next_record().unwrap().is_none());
        assert_eq!(len, expected.len());
    }
    assert_eq!(input, b"and more");
}

#[test]
fn there_is_nothing_after_an_error() {
    let mut bytes = small().bytes;
    bytes[700] ^= 1;
    let mut reader = StreamReader::new(&bytes[..]);
    while let Ok(record) = reader.next_record() {
        assert!(record.is_some());
    }
    for _ in 0..2 {
        let error = reader.next_record().unwrap_err();
        assert!(matches!(error.problem, Problem::Failed));
    }
}

/// Gives out bytes, then fails; and remembers how much room it was given at most.
struct Failing<'a> {
    bytes: &'a [u8],
    error: Option<io::Error>,
    room: &'a mut usize,
}

impl Read for Failing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        *self.room = out.len().max(*self.room);
        match (self.bytes.read(out)?, self.error.take()) {
            (0, Some(error)) => Err(error),
            (read, error) => {
                self.error = error;
                Ok(read)
            }
        }
    }
}

#[test]
fn a_failing_reader_is_told_of() {
    let bytes = small().bytes;
    let (seen, error) = collect(
        Failing {
            bytes: &bytes[..700],
            error: Some(ErrorKind::ConnectionReset.into()),
            room: &mut 0,
        },
        ReadOptions::new(),
    );
    // The header that would prove the WRITE did not come.
    assert_eq!(seen.len(), 1);
    let error = error.unwrap();
    assert_eq!(error.number, 1);
    assert!(
        matches!(&error.problem, Problem::Io(error) if error.kind() == ErrorKind::ConnectionReset)
    );
    assert_eq!(error.kind(), zfs_core::ErrorKind::Transport);
    assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionReset);
}

#[test]
fn room_is_made_as_data_arrives() {
    let list = (4, 4, 16 << 20);
    let mut begin = Build::new(ByteOrder::Little);
    let magic = (8, 8, 0x2_f5ba_cbac);
    begin.fields(RecordType::Begin.raw(), &[list, magic, (16, 8, 1)], &[]);
    let mut write = Build::new(ByteOrder::Little);
    let length = (32, 8, 16 << 20);
    write
        .begin(1, &[])
        .fields(RecordType::Write.raw(), &[length], &[]);
    for mut stream in [begin, write] {
        for data in [0, 100_000, 1_000_000] {
            stream.bytes.resize(stream.bytes.len().max(data), 0);
            let mut room = 0;
            let input = Failing {
                bytes: &stream.bytes,
                error: None,
                room: &mut room,
            };
            let (_, error) = collect(input, ReadOptions::new());
            assert_eq!(error.unwrap().kind(), zfs_core::ErrorKind::Truncated);
            assert!(room <= 2 * data.max(64 << 10), "{room} for {data}");
        }
    }
}

/// Claims to have read more than there was room for.
struct Liar;

impl Read for Liar {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(out.len() + 1)
    }
}

#[test]
fn a_reader_that_lies_is_not_believed() {
    let (_, error) = collect(Liar, ReadOptions::new());
    assert!(matches!(error.unwrap().problem, Problem::Io(_)));
}
