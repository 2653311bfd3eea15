//! Streams that go through.

use std::io::{self, BufRead, ErrorKind, Read};

use zfs_core::stream::{PassThrough, ReadOptions, Record, StreamError};

use crate::build::small;
use crate::{corpus, records};

#[test]
fn what_comes_in_goes_out() {
    for stream in corpus::streams().filter(|stream| stream.records[5] != 0) {
        let bytes = stream.bytes();
        let mut count = 0;
        let mut out = Vec::new();
        let mut through = PassThrough::new(&bytes[..], |_: &Record<'_>| count += 1);
        through.read_to_end(&mut out).unwrap();
        assert!(through.is_complete());
        assert_eq!(out, bytes);
        assert_eq!(count, stream.records.iter().sum::<u64>());
    }
}

#[test]
fn an_observer_is_told_before_bytes_go_out() {
    let bytes = corpus::stream("2.4", "replicate").bytes();
    let mut seen = Vec::new();
    let mut through = PassThrough::new(&bytes[..], |record: &Record<'_>| {
        seen.extend_from_slice(record.bytes());
    });
    let mut out = vec![0; bytes.len()];
    let mut done = 0;
    loop {
        let read = through
            .read(&mut out[done..][..100.min(bytes.len() - done)])
            .unwrap();
        if read == 0 {
            break;
        }
        done += read;
    }
    let (rest, _) = through.into_parts();
    assert!(rest.is_empty());
    assert_eq!(seen, bytes);
    assert_eq!(out, bytes);
}

#[test]
fn no_byte_of_a_bad_record_goes_out() {
    let bytes = corpus::stream("2.1", "bookmark").bytes();
    for record in records(&bytes) {
        let mut bad = bytes.clone();
        let end = usize::try_from(record.offset).unwrap() + record.bytes().len();
        bad[end - 1] ^= 0x80;
        let mut out = Vec::new();
        let mut seen = 0;
        let mut through = PassThrough::new(&bad[..], |record: &Record<'_>| {
            seen += record.bytes().len();
        });
        let error = through.read_to_end(&mut out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let inner = error.get_ref().unwrap().downcast_ref::<StreamError>();
        let offset = usize::try_from(inner.unwrap().offset).unwrap();
        assert!(offset < end);
        assert!(!through.is_complete());
        // And none after it.
        through.read_to_end(&mut out).unwrap_err();
        assert_eq!(out, bytes[..offset]);
        assert_eq!(seen, offset);
    }
}

#[test]
fn a_cut_stream_does_not_look_whole() {
    let bytes = small().bytes;
    for len in 0..bytes.len() {
        let mut through = PassThrough::new(&bytes[..len], ());
        let error = io::copy(&mut through, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_saved_stream_goes_through_where_it_may() {
    let bytes = corpus::stream("2.3", "saved").bytes();
    let options = ReadOptions::new().allow_missing_end(true);
    let mut through = PassThrough::with_options(&bytes[..], (), options);
    let mut out = Vec::new();
    through.read_to_end(&mut out).unwrap();
    assert_eq!(out, bytes);
    assert!(!through.is_complete());
}

#[test]
fn a_whole_record_can_be_seen_without_copying() {
    let bytes = small().bytes;
    let mut through = PassThrough::new(&bytes[..], ());
    for record in records(&bytes) {
        assert_eq!(through.fill_buf().unwrap(), record.bytes());
        through.consume(100);
        assert_eq!(through.fill_buf().unwrap(), &record.bytes()[100..]);
        through.consume(record.bytes().len() - 100);
    }
    assert!(through.fill_buf().unwrap().is_empty());
    assert_eq!(through.begin().unwrap().to_name, "tank@a");
}
