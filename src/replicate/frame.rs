//! What goes over the channel: frames, each of which carries the checksums of its header and of its
//! body.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `hzr1` |
//! | 4 | kind: 1 a message (JSON), 2 data |
//! | 5..8 | zero |
//! | 8..12 | length of the body, little-endian |
//! | 12..20 | number of the data frame, little-endian; zero in a message |
//! | 20..52 | BLAKE3 of the body |
//! | 52..68 | the first half of BLAKE3 of the bytes 0..52 |
//!
//! A header that is damaged leaves the reader without the place where the next one starts: the
//! connection is over. Of a body that is damaged, the sound header tells which one it is.

use std::io::{self, Read, Write};

use super::message::Message;

const MAGIC: [u8; 4] = *b"hzr1";
const HEADER: usize = 68;
const CHECK: usize = 16;
const MESSAGE: u8 = 1;
const DATA: u8 = 2;

/// The most data in a frame. Nothing of a frame reaches the kernel before all of it is there, and
/// what a cut leaves is lost.
pub(crate) const MAX_DATA: usize = 256 << 10;
/// The longest message: the state of a target with some hundred thousand snapshots.
const MAX_MESSAGE: usize = 16 << 20;

/// Why the frames cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("what arrived is no frame of this protocol")]
    Foreign,
    #[error("a frame's header is damaged")]
    Header,
    #[error("a message is damaged")]
    Message,
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("a message cannot be understood: {0}")]
    Unintelligible(serde_json::Error),
}

/// A frame that arrived.
#[derive(Debug)]
pub(crate) enum Frame {
    Message(Message),
    Data {
        number: u64,
        bytes: Vec<u8>,
    },
    /// Data whose body is not what was sent.
    Damaged {
        number: u64,
    },
}

/// A data frame, as it is written.
pub(crate) fn data(number: u64, bytes: &[u8]) -> Vec<u8> {
    encode(DATA, number, bytes)
}

fn encode(kind: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[kind, 0, 0, 0]);
    // Never cut: who writes frames keeps to the limits above.
    frame.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(blake3::hash(body).as_bytes());
    let check = check(&frame);
    frame.extend_from_slice(&check);
    frame.extend_from_slice(body);
    frame
}

/// What proves a header: half a hash is enough against damage.
fn check(header: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    for (to, from) in check.iter_mut().zip(blake3::hash(header).as_bytes()) {
        *to = *from;
    }
    check
}

/// Frames over a channel.
#[derive(Debug)]
pub(crate) struct Wire<C> {
    channel: C,
}

impl<C: Read + Write> Wire<C> {
    pub(crate) fn new(channel: C) -> Self {
        Self { channel }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &Message) -> Result<(), FrameError> {
        let body = serde_json::to_vec(message).map_err(FrameError::Unintelligible)?;
        if body.len() > MAX_MESSAGE {
            return Err(FrameError::TooLong(body.len()));
        }
        self.write(&encode(MESSAGE, 0, &body))
    }

    /// Sends a frame that [`data`] made.
    pub(crate) fn write(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        self.channel.write_all(frame)?;
        Ok(self.channel.flush()?)
    }

    /// Waits for the next frame.
    pub(crate) fn receive(&mut self) -> Result<Frame, FrameError> {
        let mut header = [0; HEADER];
        self.channel.read_exact(&mut header)?;
        let header = Header::decode(&header)?;
        let body = self.body(header.len)?;
        let sound = blake3::hash(&body) == header.body;
        match header.kind {
            Kind::Data if sound => Ok(Frame::Data {
                number: header.number,
                bytes: body,
            }),
            Kind::Data => Ok(Frame::Damaged {
                number: header.number,
            }),
            Kind::Message if sound => serde_json::from_slice(&body)
                .map(Frame::Message)
                .map_err(FrameError::Unintelligible),
            Kind::Message => Err(FrameError::Message),
        }
    }

    /// Memory grows with what arrives, not with what a header announces.
    fn body(&mut self, len: usize) -> Result<Vec<u8>, FrameError> {
        let mut body = Vec::new();
        let limit = u64::try_from(len).unwrap_or(u64::MAX);
        let read = (&mut self.channel).take(limit).read_to_end(&mut body)?;
        if read < len {
            return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(body)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Message,
    Data,
}

#[derive(Debug)]
struct Header {
    kind: Kind,
    len: usize,
    number: u64,
    body: blake3::Hash,
}

impl Header {
    fn decode(bytes: &[u8; HEADER]) -> Result<Self, FrameError> {
        let (covered, found) = bytes.split_at(HEADER - CHECK);
        let sound = check(covered) == found;
        let mut rest = covered;
        let mut take = |count: usize| -> &[u8] {
            let (head, tail) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = tail;
            head
        };
        let magic = take(4);
        let (kind, zero) = (take(1), take(3));
        let (len, number, body) = (take(4), take(8), take(32));
        if !sound {
            // Whoever speaks another protocol shall hear that, and not of damage.
            return Err(match magic == MAGIC {
                true => FrameError::Header,
                false => FrameError::Foreign,
            });
        }
        let kind = match (kind, zero) {
            ([MESSAGE], [0, 0, 0]) => Kind::Message,
            ([DATA], [0, 0, 0]) => Kind::Data,
            _ => return Err(FrameError::Foreign),
        };
        let limit = match kind {
            Kind::Message => MAX_MESSAGE,
            Kind::Data => MAX_DATA,
        };
        let (Ok(len), Ok(number), Ok(body)) = (len.try_into(), number.try_into(), body.try_into())
        else {
            return Err(FrameError::Foreign);
        };
        let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
        if len > limit {
            return Err(FrameError::TooLong(len));
        }
        Ok(Self {
            kind,
            len,
            number: u64::from_le_bytes(number),
            body: blake3::Hash::from_bytes(body),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A channel that gives what it was made with, and takes anything.
    struct Heard(Cursor<Vec<u8>>);

    impl Read for Heard {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn hear(bytes: Vec<u8>) -> Wire<Heard> {
        Wire::new(Heard(Cursor::new(bytes)))
    }

    fn message(message: &Message) -> Vec<u8> {
        encode(MESSAGE, 0, &serde_json::to_vec(message).unwrap())
    }

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let mut bytes = message(&Message::Ack { next: 7 });
        bytes.extend(data(7, b"seven"));
        bytes.extend(data(8, b""));
        let mut wire = hear(bytes);
        assert!(matches!(
            wire.receive().unwrap(),
            Frame::Message(Message::Ack { next: 7 })
        ));
        for (expected, body) in [(7, &b"seven"[..]), (8, b"")] {
            match wire.receive().unwrap() {
                Frame::Data { number, bytes } => assert_eq!((number, &*bytes), (expected, body)),
                other => panic!("{other:?}"),
            }
        }
        let end = wire.receive().unwrap_err();
        assert!(matches!(end, FrameError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let frame = data(3, b"the quick brown fox");
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let heard = hear(bad).receive();
            match bit / 8 {
                0..4 => assert!(
                    matches!(heard, Err(FrameError::Foreign)),
                    "{bit}: {heard:?}"
                ),
                4..HEADER => assert!(matches!(heard, Err(FrameError::Header)), "{bit}: {heard:?}"),
                _ => assert!(
                    matches!(heard, Ok(Frame::Damaged { number: 3 })),
                    "{bit}: {heard:?}"
                ),
            }
        }
        let frame = message(&Message::Ack { next: 1 });
        for bit in HEADER * 8..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(hear(bad).receive(), Err(FrameError::Message)));
        }
    }

    #[test]
    fn a_cut_is_found_wherever_it_is() {
        let frame = data(3, b"the quick brown fox");
        for len in 0..frame.len() {
            let heard = hear(frame[..len].to_vec()).receive();
            assert!(
                matches!(&heard, Err(FrameError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof),
                "{len}: {heard:?}"
            );
        }
    }

    #[test]
    fn a_sound_header_may_still_be_refused() {
        let seal = |mut header: Vec<u8>| {
            let check = check(&header);
            header.extend_from_slice(&check);
            header
        };
        let mut header = data(0, b"")[..HEADER - CHECK].to_vec();
        header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(
            hear(seal(header.clone())).receive(),
            Err(FrameError::TooLong(_))
        ));
        header[4] = 9;
        assert!(matches!(
            hear(seal(header)).receive(),
            Err(FrameError::Foreign)
        ));
        let nonsense = encode(MESSAGE, 0, b"{\"no-such-message\":{}}");
        assert!(matches!(
            hear(nonsense).receive(),
            Err(FrameError::Unintelligible(_))
        ));
    }
}
