//! The XDR encoding, read.

use std::ffi::CString;

use super::decode::{check_header, check_unique};
use super::encode::pair_len;
use super::{DataType, DecodeError, DecodeErrorKind as Kind, HEADER_LEN, MAX_DEPTH};
use super::{NvMap, Value};

/// XDR writes everything in units of four bytes.
const UNIT: usize = 4;
/// The least that a nested list takes up: version, flags and terminator.
const LIST_LEN_MIN: usize = 16;

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) fn xdr(bytes: &[u8]) -> Result<(NvMap, usize)> {
    let mut input = Input {
        bytes,
        pos: HEADER_LEN,
    };
    let map = input.list(0)?;
    Ok((map, input.pos))
}

/// The whole packed list, and how far it has been read.
struct Input<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    fn truncated(&self) -> DecodeError {
        Kind::Truncated.at(self.bytes.len())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.rest().first_chunk().ok_or_else(|| self.truncated())?;
        self.pos += N;
        Ok(*taken)
    }

    fn i32(&mut self) -> Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// A word that holds a number of eight bits. The C library writes every one of them, signed
    /// or not, with the sign extended; the kernel module writes zeros.
    fn u8(&mut self) -> Result<u8> {
        let word = self.u32()?;
        let [high, middle, low, byte] = word.to_be_bytes();
        match [high, middle, low] {
            [0, 0, 0] => Ok(byte),
            [0xff, 0xff, 0xff] if byte >= 0x80 => Ok(byte),
            _ => Err(Kind::Range(word).at(self.pos - UNIT)),
        }
    }

    fn u16(&mut self) -> Result<u16> {
        let word = self.u32()?;
        u16::try_from(word).map_err(|_| Kind::Range(word).at(self.pos - UNIT))
    }

    /// A signed number of 16 bits, sign-extended by the C library and zero-extended by the
    /// kernel module.
    fn i16(&mut self) -> Result<i16> {
        let word = self.u32()?;
        let [high, low, ..] = word.to_be_bytes();
        let [.., a, b] = word.to_be_bytes();
        match [high, low] {
            [0, 0] => Ok(i16::from_be_bytes([a, b])),
            [0xff, 0xff] if a >= 0x80 => Ok(i16::from_be_bytes([a, b])),
            _ => Err(Kind::Range(word).at(self.pos - UNIT)),
        }
    }

    fn boolean(&mut self) -> Result<bool> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Kind::Range(other).at(self.pos - UNIT)),
        }
    }

    /// Bytes of a known length and the zeros up to the next unit.
    fn opaque(&mut self, len: usize) -> Result<&'a [u8]> {
        let padded = len
            .checked_next_multiple_of(UNIT)
            .ok_or_else(|| self.truncated())?;
        let (bytes, padding) = self
            .rest()
            .get(..padded)
            .and_then(|bytes| bytes.split_at_checked(len))
            .ok_or_else(|| self.truncated())?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Kind::Padding.at(self.pos + len));
        }
        self.pos += padded;
        Ok(bytes)
    }

    fn string(&mut self, fault: Kind) -> Result<CString> {
        let start = self.pos;
        let len = self.u32()?;
        let len = usize::try_from(len).map_err(|_| self.truncated())?;
        CString::new(self.opaque(len)?).map_err(|_| fault.at(start))
    }

    /// Elements that are not preceded by their count, each at least `min_len` bytes long.
    fn elements<T>(
        &mut self,
        count: usize,
        min_len: usize,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        if count > self.rest().len() / min_len {
            return Err(self.truncated());
        }
        (0..count).map(|_| element(self)).collect()
    }

    /// Elements after their count, which repeats that of the pair. An empty array has not even
    /// the count, although the pair's encoded size allows for it.
    fn array<T>(
        &mut self,
        count: usize,
        len: usize,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let repeated = self.i32()?;
        if usize::try_from(repeated).ok() != Some(count) {
            return Err(Kind::ElementCount(repeated).at(self.pos - UNIT));
        }
        self.elements(count, len, element)
    }

    fn nested(&mut self, depth: usize) -> Result<NvMap> {
        if depth >= MAX_DEPTH {
            return Err(Kind::TooDeep.at(self.pos));
        }
        self.list(depth + 1)
    }

    fn list(&mut self, depth: usize) -> Result<NvMap> {
        let start = self.pos;
        let mut map = check_header(self.i32()?, self.u32()?, start)?;
        loop {
            let start = self.pos;
            // The encoded size says nothing that the content does not, and is wrong when an
            // array is empty; ZFS does not look at it either.
            let _encoded_size = self.i32()?;
            let decoded_size = self.i32()?;
            if decoded_size == 0 {
                check_unique(&map, start)?;
                return Ok(map);
            }
            let name = self.string(Kind::Name)?;
            let data_type = DataType(self.i32()?);
            let value = self.value(data_type, depth)?;
            let size = pair_len(&name, &value).and_then(|len| i32::try_from(len).ok());
            if size != Some(decoded_size) {
                return Err(Kind::PairSize(decoded_size).at(start + UNIT));
            }
            map.push(name, value);
        }
    }

    fn value(&mut self, data_type: DataType, depth: usize) -> Result<Value> {
        let type_offset = self.pos - UNIT;
        let elements = self.i32()?;
        let wrong_count = || Kind::ElementCount(elements).at(type_offset + UNIT);
        let count = usize::try_from(elements).map_err(|_| wrong_count())?;
        let expected = match data_type {
            DataType::BOOLEAN => 0,
            DataType::BOOLEAN_ARRAY
            | DataType::BYTE_ARRAY
            | DataType::INT8_ARRAY
            | DataType::UINT8_ARRAY
            | DataType::INT16_ARRAY
            | DataType::UINT16_ARRAY
            | DataType::INT32_ARRAY
            | DataType::UINT32_ARRAY
            | DataType::INT64_ARRAY
            | DataType::UINT64_ARRAY
            | DataType::STRING_ARRAY
            | DataType::NVLIST_ARRAY => count,
            _ => 1,
        };
        if data_type.name().is_some() && count != expected {
            return Err(wrong_count());
        }
        Ok(match data_type {
            DataType::BOOLEAN => Value::Boolean,
            DataType::BOOLEAN_VALUE => Value::BooleanValue(self.boolean()?),
            DataType::BYTE => Value::Byte(self.u8()?),
            DataType::INT8 => Value::Int8(i8::from_be_bytes([self.u8()?])),
            DataType::UINT8 => Value::Uint8(self.u8()?),
            DataType::INT16 => Value::Int16(self.i16()?),
            DataType::UINT16 => Value::Uint16(self.u16()?),
            DataType::INT32 => Value::Int32(self.i32()?),
            DataType::UINT32 => Value::Uint32(self.u32()?),
            DataType::INT64 => Value::Int64(self.take().map(i64::from_be_bytes)?),
            DataType::UINT64 => Value::Uint64(self.take().map(u64::from_be_bytes)?),
            DataType::HRTIME => Value::Hrtime(self.take().map(i64::from_be_bytes)?),
            DataType::DOUBLE => Value::Double(self.take().map(f64::from_be_bytes)?),
            DataType::STRING => Value::String(self.string(Kind::String)?),
            DataType::BYTE_ARRAY => Value::ByteArray(self.opaque(count)?.to_vec()),
            DataType::BOOLEAN_ARRAY => {
                Value::BooleanArray(self.array(count, UNIT, Self::boolean)?)
            }
            DataType::INT8_ARRAY => Value::Int8Array(
                self.array(count, UNIT, |input| Ok(i8::from_be_bytes([input.u8()?])))?,
            ),
            DataType::UINT8_ARRAY => Value::Uint8Array(self.array(count, UNIT, Self::u8)?),
            DataType::INT16_ARRAY => Value::Int16Array(self.array(count, UNIT, Self::i16)?),
            DataType::UINT16_ARRAY => Value::Uint16Array(self.array(count, UNIT, Self::u16)?),
            DataType::INT32_ARRAY => Value::Int32Array(self.array(count, UNIT, Self::i32)?),
            DataType::UINT32_ARRAY => Value::Uint32Array(self.array(count, UNIT, Self::u32)?),
            DataType::INT64_ARRAY => Value::Int64Array(
                self.array(count, 8, |input| input.take().map(i64::from_be_bytes))?,
            ),
            DataType::UINT64_ARRAY => Value::Uint64Array(
                self.array(count, 8, |input| input.take().map(u64::from_be_bytes))?,
            ),
            DataType::STRING_ARRAY => {
                Value::StringArray(self.elements(count, UNIT, |input| input.string(Kind::String))?)
            }
            DataType::NVLIST => Value::List(self.nested(depth)?),
            DataType::NVLIST_ARRAY => {
                Value::ListArray(self.elements(count, LIST_LEN_MIN, |input| input.nested(depth))?)
            }
            DataType(unknown) => return Err(Kind::UnknownType(unknown).at(type_offset)),
        })
    }
}
