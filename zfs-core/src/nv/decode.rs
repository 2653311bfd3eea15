//! The native encoding, read.

use std::ffi::{CStr, CString};

use super::encode::{LIST_HEADER_LEN, PAIR_HEADER_LEN, SLOT_LEN};
use super::map::Uniqueness;
use super::{DataType, DecodeError, DecodeErrorKind as Kind, HEADER_LEN, MAX_DEPTH, NV_VERSION};
use super::{NvMap, Value, align8};

/// The smallest pair: the shortest name and no value.
const PAIR_LEN_MIN: usize = PAIR_HEADER_LEN + 8;

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) fn native(bytes: &[u8]) -> Result<(NvMap, usize)> {
    let mut input = Input {
        bytes,
        pos: HEADER_LEN,
        without: None,
    };
    let mut map = check_header(input.i32()?, input.u32()?, HEADER_LEN)?;
    input.pairs(&mut map, 0)?;
    Ok((map, input.pos))
}

/// Of the pairs of the outermost list only those that `keep` wants. What the others hold is passed
/// over without a look.
pub(super) fn native_some(bytes: &[u8], keep: impl Fn(&CStr) -> bool) -> Result<NvMap> {
    let mut input = Input {
        bytes,
        pos: HEADER_LEN,
        without: None,
    };
    let mut map = check_header(input.i32()?, input.u32()?, HEADER_LEN)?;
    let list_start = input.pos;
    while let Some(pair) = input.pair()? {
        if keep(pair.name) {
            let value = input.value(&pair, 0)?;
            map.push(pair.name.to_owned(), value);
        } else {
            input.pass(&pair, 0)?;
        }
    }
    check_unique(&map, list_start)?;
    Ok(map)
}

/// A list without the pairs of this name, at any depth.
pub(super) fn native_without<'a>(bytes: &'a [u8], name: &'a CStr) -> Result<NvMap> {
    let mut input = Input {
        bytes,
        pos: HEADER_LEN,
        without: Some(name),
    };
    let mut map = check_header(input.i32()?, input.u32()?, HEADER_LEN)?;
    input.pairs(&mut map, 0)?;
    Ok(map)
}

/// An empty list of the kind that a list header announces.
pub(super) fn check_header(version: i32, flags: u32, offset: usize) -> Result<NvMap> {
    if version != NV_VERSION {
        return Err(Kind::UnknownVersion(version).at(offset));
    }
    Ok(NvMap::with_uniqueness(Uniqueness::from_flags(flags)))
}

/// Fails on a finished list that breaks the rule it declares.
///
/// ZFS reads such a list but disagrees with itself on what it says: a lookup sees the last pair
/// of a name, a walk all of them. No list that ZFS packed is like that.
pub(super) fn check_unique(map: &NvMap, offset: usize) -> Result<()> {
    match map.duplicate() {
        Some(name) => Err(Kind::Duplicate(name.to_owned()).at(offset)),
        None => Ok(()),
    }
}

/// The whole packed list, and how far it has been read.
struct Input<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Pairs of this name are passed over.
    without: Option<&'a CStr>,
}

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        let taken = rest
            .first_chunk()
            .ok_or_else(|| Kind::Truncated.at(self.bytes.len()))?;
        self.pos += N;
        Ok(*taken)
    }

    fn i32(&mut self) -> Result<i32> {
        self.take().map(i32::from_ne_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    /// Reads pairs up to and including the terminator.
    fn pairs(&mut self, map: &mut NvMap, depth: usize) -> Result<()> {
        let list_start = self.pos;
        while let Some(pair) = self.pair()? {
            if self.without == Some(pair.name) {
                self.pass(&pair, depth)?;
                continue;
            }
            let value = self.value(&pair, depth)?;
            map.push(pair.name.to_owned(), value);
        }
        check_unique(map, list_start)
    }

    /// The frame of the next pair; `None` is the terminator.
    fn pair(&mut self) -> Result<Option<Pair<'a>>> {
        let start = self.pos;
        let size = self.i32()?;
        if size == 0 {
            return Ok(None);
        }
        let len = usize::try_from(size)
            .ok()
            .filter(|len| *len >= PAIR_LEN_MIN)
            .ok_or_else(|| Kind::PairSize(size).at(start))?;
        let bytes = self
            .bytes
            .get(start..)
            .and_then(|rest| rest.get(..len))
            .ok_or_else(|| Kind::PairSize(size).at(start))?;
        self.pos = start + len;
        Pair::parse(bytes, start, size).map(Some)
    }

    /// Goes on behind the lists of a pair, whose own pairs come after it.
    fn pass(&mut self, pair: &Pair<'a>, depth: usize) -> Result<()> {
        let lists = match pair.data_type {
            DataType::NVLIST => 1,
            DataType::NVLIST_ARRAY => pair.count,
            _ => 0,
        };
        if lists > 0 && depth >= MAX_DEPTH {
            return Err(Kind::TooDeep.at(pair.start));
        }
        for _ in 0..lists {
            while let Some(inner) = self.pair()? {
                self.pass(&inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, pair: &Pair<'a>, depth: usize) -> Result<Value> {
        Ok(match pair.data_type {
            DataType::BOOLEAN => {
                pair.expect_elements(0)?;
                pair.exact(0)?;
                Value::Boolean
            }
            DataType::BOOLEAN_VALUE => {
                Value::BooleanValue(pair.boolean(pair.one(u32::from_ne_bytes)?)?)
            }
            DataType::BYTE => Value::Byte(pair.one(u8::from_ne_bytes)?),
            DataType::INT8 => Value::Int8(pair.one(i8::from_ne_bytes)?),
            DataType::UINT8 => Value::Uint8(pair.one(u8::from_ne_bytes)?),
            DataType::INT16 => Value::Int16(pair.one(i16::from_ne_bytes)?),
            DataType::UINT16 => Value::Uint16(pair.one(u16::from_ne_bytes)?),
            DataType::INT32 => Value::Int32(pair.one(i32::from_ne_bytes)?),
            DataType::UINT32 => Value::Uint32(pair.one(u32::from_ne_bytes)?),
            DataType::INT64 => Value::Int64(pair.one(i64::from_ne_bytes)?),
            DataType::UINT64 => Value::Uint64(pair.one(u64::from_ne_bytes)?),
            DataType::HRTIME => Value::Hrtime(pair.one(i64::from_ne_bytes)?),
            DataType::DOUBLE => Value::Double(pair.one(f64::from_ne_bytes)?),
            DataType::STRING => Value::String(pair.string()?),
            DataType::BOOLEAN_ARRAY => Value::BooleanArray(
                pair.many(u32::from_ne_bytes)?
                    .into_iter()
                    .map(|word| pair.boolean(word))
                    .collect::<Result<_>>()?,
            ),
            DataType::BYTE_ARRAY => Value::ByteArray(pair.exact(pair.count)?.to_vec()),
            DataType::UINT8_ARRAY => Value::Uint8Array(pair.exact(pair.count)?.to_vec()),
            DataType::INT8_ARRAY => Value::Int8Array(pair.many(i8::from_ne_bytes)?),
            DataType::INT16_ARRAY => Value::Int16Array(pair.many(i16::from_ne_bytes)?),
            DataType::UINT16_ARRAY => Value::Uint16Array(pair.many(u16::from_ne_bytes)?),
            DataType::INT32_ARRAY => Value::Int32Array(pair.many(i32::from_ne_bytes)?),
            DataType::UINT32_ARRAY => Value::Uint32Array(pair.many(u32::from_ne_bytes)?),
            DataType::INT64_ARRAY => Value::Int64Array(pair.many(i64::from_ne_bytes)?),
            DataType::UINT64_ARRAY => Value::Uint64Array(pair.many(u64::from_ne_bytes)?),
            DataType::STRING_ARRAY => Value::StringArray(pair.strings()?),
            DataType::NVLIST => {
                pair.expect_elements(1)?;
                Value::List(self.list(pair, pair.exact(LIST_HEADER_LEN)?, depth)?)
            }
            DataType::NVLIST_ARRAY => {
                let slots = pair.count.checked_mul(SLOT_LEN);
                let headers = slots
                    .zip(pair.count.checked_mul(SLOT_LEN + LIST_HEADER_LEN))
                    .ok_or_else(|| pair.wrong_size())
                    .and_then(|(slots, len)| Ok(pair.exact(len)?.get(slots..)))?
                    .unwrap_or_default();
                let mut lists = Vec::with_capacity(pair.count);
                for header in headers.chunks_exact(LIST_HEADER_LEN) {
                    lists.push(self.list(pair, header, depth)?);
                }
                Value::ListArray(lists)
            }
            DataType(unknown) => return Err(Kind::UnknownType(unknown).at(pair.start + 12)),
        })
    }

    /// Reads a nested list, whose header is in its pair and whose pairs come after.
    fn list(&mut self, pair: &Pair<'_>, header: &[u8], depth: usize) -> Result<NvMap> {
        if depth >= MAX_DEPTH {
            return Err(Kind::TooDeep.at(pair.start));
        }
        let mut header = Input {
            bytes: header,
            pos: 0,
            without: None,
        };
        let mut map = check_header(header.i32()?, header.u32()?, pair.value_start)?;
        self.pairs(&mut map, depth + 1)?;
        Ok(map)
    }
}

/// One pair whose frame has been checked: the name is good and the value lies inside.
struct Pair<'a> {
    /// Where the pair begins in the packed list.
    start: usize,
    size: i32,
    name: &'a CStr,
    data_type: DataType,
    count: usize,
    /// Where the value begins in the packed list.
    value_start: usize,
    /// The value with its padding, up to the end of the pair.
    value: &'a [u8],
}

impl<'a> Pair<'a> {
    fn parse(bytes: &'a [u8], start: usize, size: i32) -> Result<Self> {
        let mut input = Input {
            bytes,
            pos: 4,
            without: None,
        };
        let name_size = i16::from_ne_bytes(input.take()?);
        input.pos += 2;
        let count = input.i32()?;
        let data_type = DataType(input.i32()?);

        let bad_name = || Kind::Name.at(start + PAIR_HEADER_LEN);
        let name_len = usize::try_from(name_size).map_err(|_| bad_name())?;
        let name = bytes
            .get(PAIR_HEADER_LEN..)
            .and_then(|rest| rest.get(..name_len))
            .and_then(|name| CStr::from_bytes_with_nul(name).ok())
            .ok_or_else(bad_name)?;
        let (offset, value) = align8(PAIR_HEADER_LEN + name_len)
            .and_then(|offset| Some((offset, bytes.get(offset..)?)))
            .ok_or_else(|| Kind::PairSize(size).at(start))?;
        Ok(Self {
            start,
            size,
            name,
            data_type,
            count: usize::try_from(count).map_err(|_| Kind::ElementCount(count).at(start + 8))?,
            value_start: start + offset,
            value,
        })
    }

    fn wrong_size(&self) -> DecodeError {
        Kind::PairSize(self.size).at(self.start)
    }

    fn expect_elements(&self, expected: usize) -> Result<()> {
        if self.count == expected {
            return Ok(());
        }
        let count = i32::try_from(self.count).unwrap_or(i32::MAX);
        Err(Kind::ElementCount(count).at(self.start + 8))
    }

    /// The value, which has to be of this length before padding.
    fn exact(&self, len: usize) -> Result<&'a [u8]> {
        if align8(len) != Some(self.value.len()) {
            return Err(self.wrong_size());
        }
        self.value.get(..len).ok_or_else(|| self.wrong_size())
    }

    fn one<const N: usize, T>(&self, from_bytes: fn([u8; N]) -> T) -> Result<T> {
        self.expect_elements(1)?;
        let bytes = self.exact(N)?.first_chunk();
        bytes
            .map(|bytes| from_bytes(*bytes))
            .ok_or_else(|| self.wrong_size())
    }

    fn many<const N: usize, T>(&self, from_bytes: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let len = self.count.checked_mul(N).ok_or_else(|| self.wrong_size())?;
        let bytes = self.exact(len)?;
        let mut elements = Vec::with_capacity(self.count);
        elements.extend(
            bytes
                .chunks_exact(N)
                .filter_map(|chunk| chunk.first_chunk())
                .map(|chunk| from_bytes(*chunk)),
        );
        Ok(elements)
    }

    fn boolean(&self, word: u32) -> Result<bool> {
        match word {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Kind::Range(other).at(self.value_start)),
        }
    }

    fn string(&self) -> Result<CString> {
        self.expect_elements(1)?;
        let string = self.terminated(self.value)?;
        self.exact(string.count_bytes() + 1)?;
        Ok(string.to_owned())
    }

    fn strings(&self) -> Result<Vec<CString>> {
        // The room for pointers, whose content means nothing, comes before the strings.
        let slots = self
            .count
            .checked_mul(SLOT_LEN)
            .ok_or_else(|| self.wrong_size())?;
        let mut rest = self.value.get(slots..).ok_or_else(|| self.wrong_size())?;
        let mut strings = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let string = self.terminated(rest)?;
            rest = rest.get(string.count_bytes() + 1..).unwrap_or_default();
            strings.push(string.to_owned());
        }
        self.exact(self.value.len() - rest.len())?;
        Ok(strings)
    }

    fn terminated(&self, bytes: &'a [u8]) -> Result<&'a CStr> {
        CStr::from_bytes_until_nul(bytes).map_err(|_| Kind::String.at(self.value_start))
    }
}
