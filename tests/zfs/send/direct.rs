//! Sending into descriptors of each kind.

use super::{pipe, read, story};
use crate::support::Scratch;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{ErrorKind, Snapshot};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use tempfile::NamedTempFile;

fn io_error(of: &Snapshot, to: impl AsFd) -> io::Error {
    let error = of.send_to(to, &SendOptions::full()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    let source = std::error::Error::source(&error).unwrap();
    let number = source.downcast_ref::<io::Error>().unwrap();
    number.raw_os_error().map_or_else(
        || io::Error::from(number.kind()),
        io::Error::from_raw_os_error,
    )
}

/// Sends to one end of something and reads the other slowly.
fn through<R: Read + Send>(of: &Snapshot, mut from: R, to: impl AsFd) -> Vec<u8> {
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut bytes, mut chunk) = (Vec::new(), [0; 10_000]);
            loop {
                match from.read(&mut chunk).unwrap() {
                    0 => return bytes,
                    read => bytes.extend_from_slice(&chunk[..read]),
                }
                std::thread::yield_now();
            }
        });
        let sent = of.send_to(&to, &SendOptions::full()).unwrap();
        drop(to);
        let bytes = reader.join().unwrap();
        assert_eq!(sent.bytes, bytes.len() as u64);
        bytes
    })
}

#[test]
fn every_kind_of_descriptor() {
    let scratch = Scratch::new("send-to");
    let (_, of) = story(&scratch, "a", &[]);
    let options = SendOptions::full();
    let whole = read(of.send(&options).unwrap());

    // Files: from where they stand.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before").unwrap();
    let sent = of.send_to(&file, &options).unwrap();
    assert_eq!(sent.bytes, whole.len() as u64);
    file.rewind().unwrap();
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    assert!(text.strip_prefix(b"before") == Some(&whole));

    // To append to, which the kernel does not splice into.
    let named = NamedTempFile::new().unwrap();
    std::fs::write(named.path(), b"before").unwrap();
    let file = File::options().append(true).open(named.path()).unwrap();
    of.send_to(&file, &options).unwrap();
    let text = std::fs::read(named.path()).unwrap();
    assert!(text.strip_prefix(b"before") == Some(&whole));

    let null = File::options().write(true).open("/dev/null").unwrap();
    assert_eq!(of.send_to(&null, &options).unwrap(), sent);

    let (from, to) = pipe();
    assert!(through(&of, from, to) == whole, "a pipe");
    let (from, to) = UnixStream::pair().unwrap();
    assert!(through(&of, from, to) == whole, "a socket");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (from, _) = listener.accept().unwrap();
    assert!(through(&of, from, to) == whole, "TCP");

    // Those that do not block are waited for.
    let (from, to) = pipe();
    rustix::fs::fcntl_setfl(&to, rustix::fs::OFlags::NONBLOCK).unwrap();
    assert!(
        through(&of, from, to) == whole,
        "a pipe that does not block"
    );
    let (from, to) = UnixStream::pair().unwrap();
    to.set_nonblocking(true).unwrap();
    assert!(
        through(&of, from, to) == whole,
        "a socket that does not block"
    );
}

#[test]
fn descriptors_that_cannot_be_written_to() {
    let scratch = Scratch::new("send-not-to");
    let (_, of) = story(&scratch, "a", &[]);
    const EBADF: i32 = 9;
    let file = NamedTempFile::new().unwrap();
    let read_only = File::open(file.path()).unwrap();
    assert_eq!(io_error(&of, read_only).raw_os_error(), Some(EBADF));
    let folder = File::open("/").unwrap();
    assert_eq!(io_error(&of, folder).raw_os_error(), Some(EBADF));
    let (from, _to) = pipe();
    assert_eq!(io_error(&of, from).raw_os_error(), Some(EBADF));
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(io_error(&of, full).kind(), io::ErrorKind::StorageFull);
    let (_, to) = UnixStream::pair().unwrap();
    assert_eq!(io_error(&of, to).kind(), io::ErrorKind::BrokenPipe);
    let (_, to) = pipe();
    assert_eq!(io_error(&of, to).kind(), io::ErrorKind::BrokenPipe);
    // Nothing is left of them.
    of.destroy().unwrap();
}
