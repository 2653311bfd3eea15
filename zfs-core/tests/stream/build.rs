//! Streams that no kernel made, with checksums that are right.

use zfs_core::stream::{ByteOrder, HEADER_LEN, RecordType};

pub(crate) type Header = [u8; HEADER_LEN];

/// A stream in the making. It sums by itself, word after word.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) bytes: Vec<u8>,
    pub(crate) order: ByteOrder,
    sums: [u64; 4],
    /// Whether headers get checksums.
    pub(crate) fill: bool,
}

impl Build {
    pub(crate) fn new(order: ByteOrder) -> Self {
        Self {
            bytes: Vec::new(),
            order,
            sums: [0; 4],
            fill: true,
        }
    }

    fn sum(&mut self, bytes: &[u8]) {
        for word in bytes.chunks_exact(4) {
            let word = word.try_into().unwrap();
            let word = match self.order {
                ByteOrder::Little => u32::from_le_bytes(word),
                ByteOrder::Big => u32::from_be_bytes(word),
            };
            let mut carry = u64::from(word);
            for sum in &mut self.sums {
                *sum = sum.wrapping_add(carry);
                carry = *sum;
            }
        }
    }

    pub(crate) fn put(&self, header: &mut Header, at: usize, len: usize, value: u64) {
        let mut bytes = value.to_le_bytes()[..len].to_vec();
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        header[at..at + len].copy_from_slice(&bytes);
    }

    fn put_sums(&self, header: &mut Header, at: usize) {
        for (n, sum) in self.sums.into_iter().enumerate() {
            self.put(header, at + 8 * n, 8, sum);
        }
    }

    /// Adds a record as it is but for its checksums.
    pub(crate) fn record(&mut self, mut header: Header, payload: &[u8]) -> &mut Self {
        let mut number = [0; 4];
        number.copy_from_slice(&header[..4]);
        let number = match self.order {
            ByteOrder::Little => u32::from_le_bytes(number),
            ByteOrder::Big => u32::from_be_bytes(number),
        };
        if number == RecordType::Begin.raw() && header[8..16].iter().any(|byte| *byte != 0) {
            self.sums = [0; 4];
        } else if number == RecordType::End.raw() && self.sums != [0; 4] {
            self.put_sums(&mut header, 8);
        }
        self.sum(&header[..280]);
        if number != RecordType::Begin.raw() && self.fill {
            self.put_sums(&mut header, 280);
        }
        self.sum(&header[280..]);
        self.sum(payload);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload);
        self
    }

    /// Adds a record of which these fields are set: where, of what length, what.
    pub(crate) fn fields(
        &mut self,
        record: u32,
        fields: &[(usize, usize, u64)],
        payload: &[u8],
    ) -> &mut Self {
        let mut header = [0; HEADER_LEN];
        self.put(&mut header, 0, 4, record.into());
        for (at, len, value) in fields {
            self.put(&mut header, *at, *len, *value);
        }
        self.record(header, payload)
    }

    /// Begins a stream (1) or a compound one (2).
    pub(crate) fn begin(&mut self, kind: u64, payload: &[u8]) -> &mut Self {
        let name = u64::from_le_bytes(*b"tank@a\0\0");
        let name = match self.order {
            ByteOrder::Little => name,
            ByteOrder::Big => name.swap_bytes(),
        };
        let fields = [
            (4, 4, payload.len() as u64),
            (8, 8, 0x2_f5ba_cbac),
            (16, 8, kind),
            (32, 4, 2),
            (40, 8, if kind == 1 { 7 } else { 0 }),
            (56, 8, name),
        ];
        self.fields(RecordType::Begin.raw(), &fields, payload)
    }

    pub(crate) fn write(&mut self, payload: &[u8]) -> &mut Self {
        let fields = [(8, 8, 2), (32, 8, payload.len() as u64), (40, 8, 7)];
        self.fields(RecordType::Write.raw(), &fields, payload)
    }

    pub(crate) fn end(&mut self) -> &mut Self {
        let to_guid = (40, 8, 7);
        self.fields(RecordType::End.raw(), &[to_guid], &[])
    }

    /// The END after the header of a compound stream, as user space writes it.
    pub(crate) fn header_end(&mut self) -> &mut Self {
        self.fill = false;
        self.fields(RecordType::End.raw(), &[], &[]);
        self.fill = true;
        self
    }

    /// The last END of a compound stream.
    pub(crate) fn closing_end(&mut self) -> &mut Self {
        self.sums = [0; 4];
        self.header_end()
    }
}

/// A stream of a block and an object without payload.
pub(crate) fn small() -> Build {
    let mut stream = Build::new(ByteOrder::Little);
    stream.begin(1, &[]).write(&[0x5a; 64]);
    stream
        .fields(RecordType::Object.raw(), &[(8, 8, 3)], &[])
        .end();
    stream
}
