//! Where a stream comes from, and how it gets to the kernel.

use super::request::{Answer, OPERATION, Receive};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::pipe::{Pipe, pipe};
use crate::ffi::signal::PipeIgnored;
use crate::stream::{HEADER_LEN, PassThrough, Problem, StreamError};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsFd;

/// A reader of one plain stream that gives out nothing but whole records that were checked.
pub(super) fn checked<R: Read>(stream: R) -> PassThrough<R, ()> {
    PassThrough::new(stream, ())
}

/// Reads the header of a stream's first record. `object` is for the error.
pub(super) fn read_header(object: &str, stream: &mut impl Read) -> Result<[u8; HEADER_LEN]> {
    let mut header = [0; HEADER_LEN];
    stream
        .read_exact(&mut header)
        .map_err(|error| input_error(object, error))?;
    Ok(header)
}

/// What an error of the stream's reader means: the stream is bad, or reading it failed.
pub(super) fn input_error(object: &str, error: io::Error) -> Error {
    match error.downcast::<StreamError>() {
        Ok(error) => stream_error(object, error),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Error::refused(
            OPERATION,
            object,
            ErrorKind::Truncated,
            "in its first record",
        ),
        Err(error) => Error::transport(OPERATION, object, error),
    }
}

pub(super) fn stream_error(object: &str, error: StreamError) -> Error {
    match error.problem {
        Problem::Io(error) => Error::transport(OPERATION, object, error),
        _ => Error::refused(OPERATION, object, error.kind(), error.to_string()),
    }
}

/// How feeding the kernel ended.
enum Fed {
    /// Everything that the reader gave.
    All,
    /// The kernel takes no more.
    Refused,
    /// The reader failed.
    Input(io::Error),
}

impl Receive<'_> {
    /// Receives what `stream` gives after the header.
    pub(super) fn feed(&self, stream: &mut impl BufRead) -> Result<Answer> {
        let object = self.snapshot.as_str();
        let Pipe { reader, writer } =
            pipe().map_err(|errno| Error::new(OPERATION, object, errno))?;
        let (fed, answer) = std::thread::scope(|scope| {
            let kernel = self.spawn(scope, reader)?;
            // The pipe closes here, whatever happens, and so ends the kernel's wait for more.
            let fed = pump(stream, writer);
            Ok::<_, Error>((fed, self.outcome(kernel.join())))
        })?;
        match (fed, answer) {
            // That the stream ended early is then not all that is known.
            (Fed::Input(error), Err(answer)) if answer.kind() == ErrorKind::Truncated => {
                Err(input_error(object, error))
            }
            (_, answer) => answer,
        }
    }

    /// Receives what the kernel reads from `input` itself.
    pub(super) fn read_from(&self, input: impl AsFd) -> Result<Answer> {
        let input = input.as_fd();
        std::thread::scope(|scope| {
            let kernel = self.spawn(scope, input)?;
            self.outcome(kernel.join())
        })
    }

    fn outcome(&self, joined: std::thread::Result<Result<Answer>>) -> Result<Answer> {
        joined.unwrap_or_else(|_| {
            Err(self.error(ErrorKind::Other, "the receiving thread ended abnormally"))
        })
    }
}

/// Writes what the stream gives into the pipe, a record at a time.
fn pump(stream: &mut impl BufRead, mut pipe: File) -> Fed {
    let _ignored = PipeIgnored::new();
    loop {
        let len = match stream.fill_buf() {
            Ok([]) => return Fed::All,
            Ok(bytes) => match pipe.write_all(bytes) {
                Ok(()) => bytes.len(),
                Err(_) => return Fed::Refused,
            },
            Err(error) => return Fed::Input(error),
        };
        stream.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails;

    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn all_is_written_and_the_pipe_closes() {
        let mut pipe = pipe().unwrap();
        let fed = pump(&mut &b"stream"[..], pipe.writer);
        assert!(matches!(fed, Fed::All));
        let mut text = String::new();
        pipe.reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "stream");
    }

    #[test]
    fn what_came_before_a_failure_is_written() {
        let mut pipe = pipe().unwrap();
        let mut stream = io::BufReader::new(io::Read::chain(&b"stream"[..], Fails));
        let fed = pump(&mut stream, pipe.writer);
        assert!(matches!(fed, Fed::Input(error) if error.kind() == io::ErrorKind::ConnectionReset));
        let mut text = String::new();
        pipe.reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "stream");
    }

    #[test]
    fn nothing_is_read_any_more_when_nobody_takes_it() {
        let pipe = pipe().unwrap();
        drop(pipe.reader);
        let mut stream = io::repeat(0).take(u64::MAX);
        let mut stream = io::BufReader::new(&mut stream);
        assert!(matches!(pump(&mut stream, pipe.writer), Fed::Refused));
    }

    #[test]
    fn a_bad_stream_is_told_from_a_reader_that_fails() {
        let mut bad = checked(&[7; 1000][..]);
        let error = read_header("tank/a", &mut bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidStream);
        assert!(error.to_string().starts_with("cannot receive tank/a: "));
        let error = read_header("tank/a", &mut checked(Fails)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport);
        for len in [0, 100, HEADER_LEN - 1] {
            let zeros = vec![0; len];
            let error = read_header("tank/a", &mut &zeros[..]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Truncated);
        }
    }
}
