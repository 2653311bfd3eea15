//! What may come where in a stream, and the sum over it: what both readers have in common.

use super::header::{CHECKSUM_AT, Fields, HEADER_LEN};
use super::{Begin, Body, ByteOrder, End, Fletcher4, HeaderKind, Problem, RecordType, StreamError};
use std::io;
use std::sync::Arc;
use zfs_core_sys::ioctl;

/// What a reader of streams accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ReadOptions {
    missing_end: bool,
    missing_checksums: bool,
    max_payload: u64,
    max_begin_payload: u64,
}

impl ReadOptions {
    /// Complete streams with all their checksums, and payloads of at most 16 MiB: no block is larger.
    /// The list of a compound stream may be: `zfs send -R` writes some 300 bytes for each snapshot,
    /// and `zfs receive` takes up to 64 MiB.
    pub const fn new() -> Self {
        Self {
            missing_end: false,
            missing_checksums: false,
            max_payload: 16 << 20,
            max_begin_payload: 16 << 20,
        }
    }

    /// Accepts a stream that stops after any whole record, and takes that for its end. The last
    /// record, when it has a payload, is given out unproven then.
    ///
    /// `zfs send --saved` sends no END.
    pub const fn allow_missing_end(mut self, allow: bool) -> Self {
        self.missing_end = allow;
        self
    }

    /// Accepts records whose sender did not fill in the checksum, as releases before 0.7 did not.
    ///
    /// ZFS accepts them too. Such records are given out unproven: only the END tells then whether
    /// the stream is what was sent.
    pub const fn allow_missing_checksums(mut self, allow: bool) -> Self {
        self.missing_checksums = allow;
        self
    }

    /// The longest payload of a record other than BEGIN, in bytes.
    pub const fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = bytes;
        self
    }

    /// The longest list of a BEGIN, in bytes. It is read into memory, decoded, and takes up several
    /// times its length then.
    pub const fn max_begin_payload(mut self, bytes: u64) -> Self {
        self.max_begin_payload = bytes;
        self
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes of a stream from the record on that comes next.
pub(super) trait Window {
    /// Makes this many bytes visible, or as many as there are.
    fn want(&mut self, len: usize) -> io::Result<()>;

    /// The bytes that are visible.
    fn bytes(&self) -> &[u8];
}

/// A record that is at the front of the window.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) order: ByteOrder,
    pub(super) body: Body,
    pub(super) len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A BEGIN comes.
    Start,
    /// After the BEGIN of a compound stream: an END comes.
    CompoundHeader,
    /// In a compound stream: a BEGIN comes, or the END of the whole.
    Between,
    /// In a stream.
    Inside { compound: bool },
    /// After the last END, or where the input ended and was allowed to.
    Done { complete: bool },
    /// After an error.
    Failed,
}

#[derive(Debug)]
pub(super) struct Walk {
    options: ReadOptions,
    place: Place,
    order: ByteOrder,
    sum: Fletcher4,
    /// Whether the sum has gone through the next header already.
    summed: bool,
    begin: Option<Arc<Begin>>,
    number: u64,
    offset: u64,
}

impl Walk {
    pub(super) fn new(options: ReadOptions) -> Self {
        Self {
            options,
            place: Place::Start,
            order: ByteOrder::Little,
            sum: Fletcher4::new(),
            summed: false,
            begin: None,
            number: 0,
            offset: 0,
        }
    }

    /// The byte at which the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn begin(&self) -> Option<&Arc<Begin>> {
        self.begin.as_ref()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.place == Place::Done { complete: true }
    }

    /// Reads and proves the next record. `None` when the stream is over.
    pub(super) fn step(&mut self, window: &mut impl Window) -> Result<Option<Step>, StreamError> {
        match self.place {
            Place::Done { .. } => return Ok(None),
            Place::Failed => return Err(self.fault(None, Problem::Failed)),
            _ => {}
        }
        self.want(window, None, HEADER_LEN)?;
        let Some(header) = window.bytes().first_chunk() else {
            return self.cut(window.bytes().len()).map(|()| None);
        };
        let body = self.enter(header)?;
        let record = body.record_type();
        let len = HEADER_LEN + self.payload_len(&body)?;

        // Nothing but the header that comes next proves a payload, or the header of a BEGIN.
        let unproven = len > HEADER_LEN || record == RecordType::Begin;
        let wanted = if unproven { len + HEADER_LEN } else { len };
        self.want(window, Some(record), wanted)?;
        let (here, next) = match window.bytes().split_at_checked(len) {
            Some(split) => split,
            None => {
                let got = window.bytes().len();
                return Err(self.truncated(Some(record), len, got));
            }
        };
        let payload = here.get(HEADER_LEN..).unwrap_or_default();
        self.sum.update(payload);
        if unproven {
            match next.first_chunk() {
                Some(next) => self.sum_header(next, Some(record))?,
                None if self.options.missing_end && next.is_empty() => {}
                None => {
                    let got = next.len();
                    self.pass(len);
                    return Err(self.truncated(None, HEADER_LEN, got));
                }
            }
        }
        let body = self.understand(body, payload)?;
        let step = Step {
            number: self.number,
            offset: self.offset,
            order: self.order,
            body,
            len,
        };
        self.pass(len);
        Ok(Some(step))
    }

    fn pass(&mut self, len: usize) {
        self.number = self.number.saturating_add(1);
        self.offset = self.offset.saturating_add(len as u64);
    }

    /// An error of the record at hand, after which nothing more is read.
    fn fault(&mut self, record: Option<RecordType>, problem: Problem) -> StreamError {
        self.place = Place::Failed;
        StreamError {
            number: self.number,
            record,
            offset: self.offset,
            problem,
        }
    }

    fn truncated(&mut self, record: Option<RecordType>, wanted: usize, got: usize) -> StreamError {
        let (wanted, got) = (wanted as u64, got as u64);
        self.fault(record, Problem::Truncated { wanted, got })
    }

    fn want(
        &mut self,
        window: &mut impl Window,
        record: Option<RecordType>,
        len: usize,
    ) -> Result<(), StreamError> {
        window
            .want(len)
            .map_err(|error| self.fault(record, Problem::Io(error)))
    }

    /// The input ended where a header should come.
    fn cut(&mut self, got: usize) -> Result<(), StreamError> {
        if got == 0 && self.place != Place::Start && self.options.missing_end {
            self.place = Place::Done { complete: false };
            return Ok(());
        }
        Err(self.truncated(None, HEADER_LEN, got))
    }

    /// Reads a header, as far as that goes without what comes after it.
    fn enter(&mut self, header: &[u8; HEADER_LEN]) -> Result<Body, StreamError> {
        let fields = Fields::new(header, self.order);
        let record = RecordType::from_raw(fields.u32(0));
        match self.place {
            Place::Failed | Place::Done { .. } => Err(self.fault(None, Problem::Failed)),
            Place::Start => self.enter_stream(header, false),
            Place::Between => match record {
                Ok(RecordType::Begin) | Err(_) => self.enter_stream(header, true),
                Ok(RecordType::End) => self.leave(fields),
                Ok(other) => Err(self.fault(Some(other), Problem::OutOfPlace(other))),
            },
            Place::CompoundHeader | Place::Inside { .. } => {
                if !self.summed {
                    self.sum_header(header, record.ok())?;
                }
                self.summed = false;
                match record {
                    Err(unknown) => Err(self.fault(None, Problem::UnknownType(unknown))),
                    Ok(RecordType::End) => self.leave(fields),
                    Ok(other) if self.place == Place::CompoundHeader => {
                        Err(self.fault(Some(other), Problem::OutOfPlace(other)))
                    }
                    Ok(other) => Body::read(other, fields)
                        .ok_or_else(|| self.fault(Some(other), Problem::OutOfPlace(other))),
                }
            }
        }
    }

    fn enter_stream(
        &mut self,
        header: &[u8; HEADER_LEN],
        compound: bool,
    ) -> Result<Body, StreamError> {
        let begin = match Begin::read(header) {
            Ok(begin) => begin,
            Err(problem) => {
                let record = RecordType::from_raw(Fields::new(header, self.order).u32(0));
                return Err(self.fault(record.ok(), problem));
            }
        };
        self.place = match begin.kind {
            HeaderKind::Substream => Place::Inside { compound },
            HeaderKind::Compound if compound => {
                let record = RecordType::Begin;
                return Err(self.fault(Some(record), Problem::OutOfPlace(record)));
            }
            HeaderKind::Compound => Place::CompoundHeader,
        };
        self.order = begin.order;
        self.sum = Fletcher4::of_order(begin.order);
        self.sum.update(header);
        Ok(Body::Begin(Arc::new(begin)))
    }

    /// Reads an END: of a stream, of the header of a compound one, or of the whole.
    fn leave(&mut self, fields: Fields<'_>) -> Result<Body, StreamError> {
        let record = RecordType::End;
        let end = End::read(fields);
        // User space leaves the checksum of those it writes empty, and old kernels did so too.
        // Then nothing covers the rest of the header. What closes a compound stream never has any.
        let closes = self.place == Place::Between;
        let empty = fields.sums(CHECKSUM_AT) == [0; 4];
        if closes || empty {
            let to_guid = match &self.begin {
                Some(begin) if !closes => begin.to_guid,
                _ => 0,
            };
            let clean = empty
                && fields.u32(4) == 0
                && end.to_guid == to_guid
                && (!closes || end.checksum == [0; 4])
                && (48..CHECKSUM_AT).step_by(8).all(|at| fields.u64(at) == 0);
            if !clean {
                return Err(self.fault(Some(record), Problem::ClosingBytes));
            }
        }
        self.place = match self.place {
            Place::CompoundHeader | Place::Inside { compound: true } => Place::Between,
            _ => Place::Done { complete: true },
        };
        Ok(Body::End(end))
    }

    /// Takes the sum through a header, and compares it with what the header states. A difference
    /// is the fault of the record at hand, which is the one before the header if that is unproven.
    fn sum_header(
        &mut self,
        header: &[u8; HEADER_LEN],
        record: Option<RecordType>,
    ) -> Result<(), StreamError> {
        let fields = Fields::new(header, self.order);
        let before = self.sum.words();
        let (covered, checksum) = header.split_at_checked(CHECKSUM_AT).unwrap_or_default();
        self.sum.update(covered);
        let computed = self.sum.words();
        let stated = fields.sums(CHECKSUM_AT);
        let ends = fields.u32(0) == ioctl::DRR_END;
        if stated == [0; 4] {
            // An END has another one, of what is before it.
            if !ends && !self.options.missing_checksums {
                return Err(self.fault(record, Problem::NoChecksum));
            }
        } else if stated != computed {
            return Err(self.fault(record, Problem::Checksum { stated, computed }));
        }
        let stated = fields.sums(8);
        if ends && stated != before {
            let computed = before;
            return Err(self.fault(record, Problem::Checksum { stated, computed }));
        }
        self.sum.update(checksum);
        self.summed = true;
        Ok(())
    }

    fn payload_len(&mut self, body: &Body) -> Result<usize, StreamError> {
        let record = body.record_type();
        let len = body.payload_len();
        let limit = match record {
            RecordType::Begin => self.options.max_begin_payload,
            _ => self.options.max_payload,
        };
        if len % 4 != 0 {
            return Err(self.fault(Some(record), Problem::Unaligned(len)));
        }
        // Two headers are added to it.
        match usize::try_from(len) {
            Ok(fits) if len <= limit && fits <= isize::MAX as usize - 2 * HEADER_LEN => Ok(fits),
            _ => Err(self.fault(Some(record), Problem::TooLong { len, limit })),
        }
    }

    /// Reads the list of a BEGIN, now that its bytes are proven.
    fn understand(&mut self, mut body: Body, payload: &[u8]) -> Result<Body, StreamError> {
        let Body::Begin(begin) = &mut body else {
            return Ok(body);
        };
        if !payload.is_empty() {
            match Begin::payload(payload) {
                Ok(list) => Arc::make_mut(begin).list = Some(list),
                Err(error) if *error.kind() == crate::nv::DecodeErrorKind::ForeignEndianness => {}
                Err(error) => {
                    return Err(self.fault(Some(RecordType::Begin), Problem::Payload(error)));
                }
            }
        }
        self.begin = Some(Arc::clone(begin));
        Ok(body)
    }
}
