//! Channels that fail.

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::io::{self, Read, Write};

/// What happens to the bytes that come out of a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disturbance {
    /// They end after so many.
    Cut(u64),
    /// One bit of that byte is flipped.
    Flip { byte: u64, bit: u8 },
}

/// A channel whose reader is disturbed.
pub(crate) struct Disturbed<C> {
    channel: C,
    disturbance: Disturbance,
    read: u64,
}

impl<C> Disturbed<C> {
    pub(crate) fn new(channel: C, disturbance: Disturbance) -> Self {
        Self {
            channel,
            disturbance,
            read: 0,
        }
    }
}

impl<C: Read> Read for Disturbed<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut most = buffer.len();
        if let Disturbance::Cut(at) = self.disturbance {
            most = most.min(usize::try_from(at - self.read).unwrap_or(usize::MAX));
        }
        let count = self.channel.read(&mut buffer[..most])?;
        if let Disturbance::Flip { byte, bit } = self.disturbance {
            if let Some(index) = byte.checked_sub(self.read) {
                if let Some(byte) = buffer[..count].get_mut(usize::try_from(index).unwrap()) {
                    *byte ^= 1 << bit;
                }
            }
        }
        self.read += count as u64;
        Ok(count)
    }
}

impl<C: Write> Write for Disturbed<C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.channel.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.flush()
    }
}

/// The kind of a frame that has a message and no data.
pub(crate) const MESSAGE: u8 = 1;

/// A channel in the hands of somebody who knows the protocol: `change` gets the kind and the body of
/// each frame that arrives, and the frame's checksums are made anew.
pub(crate) struct Forged<C, F> {
    channel: C,
    change: F,
    frame: io::Cursor<Vec<u8>>,
}

impl<C, F: FnMut(u8, &mut Vec<u8>)> Forged<C, F> {
    pub(crate) fn new(channel: C, change: F) -> Self {
        Self {
            channel,
            change,
            frame: io::Cursor::default(),
        }
    }
}

impl<C: Read, F: FnMut(u8, &mut Vec<u8>)> Read for Forged<C, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.frame.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        let mut header = [0; 68];
        self.channel.read_exact(&mut header)?;
        let len = u32::from_le_bytes(header[8..12].try_into().unwrap());
        let mut body = vec![0; usize::try_from(len).unwrap()];
        self.channel.read_exact(&mut body)?;
        (self.change)(header[4], &mut body);
        let len = u32::try_from(body.len()).unwrap();
        header[8..12].copy_from_slice(&len.to_le_bytes());
        header[20..52].copy_from_slice(blake3::hash(&body).as_bytes());
        let check = blake3::hash(&header[..52]);
        header[52..].copy_from_slice(&check.as_bytes()[..16]);
        self.frame = io::Cursor::new([&header[..], &body].concat());
        self.frame.read(buffer)
    }
}

impl<C: Write, F> Write for Forged<C, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.channel.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.flush()
    }
}
