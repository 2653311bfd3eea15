//! Lists from Rust values, and lists as what serde writes.

use super::{NvMap, Value};
use serde::ser::{
    self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct,
    SerializeStructVariant, SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};
use std::ffi::CString;
use std::fmt;

/// A Rust value that has no form as a list, or a list that is not what a Rust type wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConvertError(String);

impl ConvertError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The same error, seen from outside of what it happened in.
    pub(super) fn within(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl ser::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl serde::de::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A list of a struct's fields, or of a map's entries.
///
/// Numbers keep their width, texts become strings, structs and maps lists. A sequence becomes an
/// array if its items are of one type, else a list with the names `1`, `2` and so on, as which it
/// is also read again; an empty one becomes an empty list. What is `None` is left out, `()` is a
/// flag. An enum is its variant's name, or a list with that name and what the variant holds.
///
/// # Errors
///
/// [`ConvertError`] for a value that is no struct or map, for numbers of 128 bits, for a NUL in a
/// name or a text, and for `None` in a sequence.
pub fn to_map<T: Serialize + ?Sized>(value: &T) -> Result<NvMap, ConvertError> {
    match value.serialize(ToValue)? {
        Some(Value::List(map)) => Ok(map),
        _ => Err(ConvertError::new("neither a struct nor a map")),
    }
}

/// A Rust value as the kernel's types have it, or `None` for what is `None`.
struct ToValue;

fn text(text: &str) -> Result<CString, ConvertError> {
    CString::new(text).map_err(|_| ConvertError::new(format!("{text:?} contains a NUL character")))
}

/// The list of one pair that a variant with something in it becomes.
fn variant(name: &str, value: Option<Value>) -> Result<Option<Value>, ConvertError> {
    let mut list = NvMap::new();
    list.insert(text(name)?, value.unwrap_or(Value::Boolean));
    Ok(Some(Value::List(list)))
}

macro_rules! plain {
    ($($method:ident($type:ty) => $variant:ident,)*) => {$(
        fn $method(self, value: $type) -> Result<Self::Ok, Self::Error> {
            Ok(Some(Value::$variant(value.into())))
        }
    )*};
}

impl ser::Serializer for ToValue {
    type Ok = Option<Value>;
    type Error = ConvertError;
    type SerializeSeq = Sequence;
    type SerializeTuple = Sequence;
    type SerializeTupleStruct = Sequence;
    type SerializeTupleVariant = Sequence;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    plain! {
        serialize_bool(bool) => BooleanValue,
        serialize_i8(i8) => Int8,
        serialize_i16(i16) => Int16,
        serialize_i32(i32) => Int32,
        serialize_i64(i64) => Int64,
        serialize_u8(u8) => Uint8,
        serialize_u16(u16) => Uint16,
        serialize_u32(u32) => Uint32,
        serialize_u64(u64) => Uint64,
        serialize_f32(f32) => Double,
        serialize_f64(f64) => Double,
        serialize_bytes(&[u8]) => ByteArray,
    }

    fn serialize_char(self, value: char) -> Result<Self::Ok, Self::Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Self::Ok, Self::Error> {
        text(value).map(|text| Some(Value::String(text)))
    }

    fn serialize_none(self) -> Result<Self::Ok, Self::Error> {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, Self::Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Self::Ok, Self::Error> {
        Ok(Some(Value::Boolean))
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Self::Ok, Self::Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Self::Ok, Self::Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Self::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Self::Error> {
        variant(name, value.serialize(self)?)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Sequence, Self::Error> {
        Ok(Sequence::default())
    }

    fn serialize_tuple(self, _len: usize) -> Result<Sequence, Self::Error> {
        Ok(Sequence::default())
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Sequence, Self::Error> {
        Ok(Sequence::default())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Sequence, Self::Error> {
        Ok(Sequence {
            variant: Some(variant),
            ..Sequence::default()
        })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Entries, Self::Error> {
        Ok(Entries::default())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Entries, Self::Error> {
        Ok(Entries::default())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Entries, Self::Error> {
        Ok(Entries {
            variant: Some(variant),
            ..Entries::default()
        })
    }
}

/// The items of a sequence, and the variant that it is what is held by.
#[derive(Default)]
struct Sequence {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

impl Sequence {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ConvertError> {
        let item = item
            .serialize(ToValue)
            .map_err(|error| error.within(&(self.items.len() + 1).to_string()))?
            .ok_or_else(|| ConvertError::new("a sequence with a hole in it"))?;
        self.items.push(item);
        Ok(())
    }

    fn finish(self) -> Result<Option<Value>, ConvertError> {
        let value = match uniform(&self.items) {
            Some(array) => array,
            None => {
                let numbered: Result<NvMap, ConvertError> = self
                    .items
                    .into_iter()
                    .zip(1_usize..)
                    .map(|(item, n)| Ok((text(&n.to_string())?, item)))
                    .collect();
                Value::List(numbered?)
            }
        };
        match self.variant {
            Some(name) => variant(name, Some(value)),
            None => Ok(Some(value)),
        }
    }
}

/// An array of items that are all of one type, if there is an array of that type.
fn uniform(items: &[Value]) -> Option<Value> {
    macro_rules! arrays {
        ($($item:ident => $array:ident),*) => {
            match items.first()? {
                $(Value::$item(_) => items
                    .iter()
                    .map(|item| match item {
                        Value::$item(item) => Some(item.clone()),
                        _ => None,
                    })
                    .collect::<Option<_>>()
                    .map(Value::$array),)*
                _ => None,
            }
        };
    }
    arrays! {
        BooleanValue => BooleanArray,
        Int8 => Int8Array,
        Int16 => Int16Array,
        Int32 => Int32Array,
        Int64 => Int64Array,
        Uint8 => Uint8Array,
        Uint16 => Uint16Array,
        Uint32 => Uint32Array,
        Uint64 => Uint64Array,
        String => StringArray,
        List => ListArray
    }
}

macro_rules! sequence {
    ($($trait:ident::$method:ident),*) => {$(
        impl $trait for Sequence {
            type Ok = Option<Value>;
            type Error = ConvertError;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ConvertError> {
                self.add(item)
            }

            fn end(self) -> Result<Option<Value>, ConvertError> {
                self.finish()
            }
        }
    )*};
}

sequence!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// The entries of a list, and the variant that it is what is held by.
#[derive(Default)]
struct Entries {
    entries: Vec<(CString, Value)>,
    key: Option<CString>,
    variant: Option<&'static str>,
}

impl Entries {
    fn add<T: Serialize + ?Sized>(&mut self, key: CString, value: &T) -> Result<(), ConvertError> {
        let value = value
            .serialize(ToValue)
            .map_err(|error| error.within(&key.to_string_lossy()))?;
        self.entries.extend(value.map(|value| (key, value)));
        Ok(())
    }

    fn finish(self) -> Result<Option<Value>, ConvertError> {
        let list = Value::List(self.entries.into_iter().collect());
        match self.variant {
            Some(name) => variant(name, Some(list)),
            None => Ok(Some(list)),
        }
    }
}

impl SerializeMap for Entries {
    type Ok = Option<Value>;
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.key = Some(key.serialize(ToName)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let key = self
            .key
            .take()
            .ok_or_else(|| ConvertError::new("a value without a key"))?;
        self.add(key, value)
    }

    fn end(self) -> Result<Option<Value>, ConvertError> {
        self.finish()
    }
}

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl $trait for Entries {
            type Ok = Option<Value>;
            type Error = ConvertError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ConvertError> {
                self.add(text(key)?, value)
            }

            fn end(self) -> Result<Option<Value>, ConvertError> {
                self.finish()
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

/// A map's key as a name.
struct ToName;

macro_rules! named_by_display {
    ($($method:ident($type:ty)),* $(,)?) => {$(
        fn $method(self, value: $type) -> Result<CString, ConvertError> {
            text(&value.to_string())
        }
    )*};
}

macro_rules! no_name {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$ok, ConvertError> {
            Err(ConvertError::new("a map's key is neither a text nor a number"))
        }
    )*};
}

type No = Impossible<CString, ConvertError>;

impl ser::Serializer for ToName {
    type Ok = CString;
    type Error = ConvertError;
    type SerializeSeq = No;
    type SerializeTuple = No;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = No;
    type SerializeStructVariant = No;

    named_by_display! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32),
        serialize_i64(i64), serialize_u8(u8), serialize_u16(u16), serialize_u32(u32),
        serialize_u64(u64), serialize_char(char), serialize_str(&str),
    }

    no_name! {
        serialize_f32(f32) -> CString;
        serialize_f64(f64) -> CString;
        serialize_bytes(&[u8]) -> CString;
        serialize_none() -> CString;
        serialize_unit() -> CString;
        serialize_unit_struct(&'static str) -> CString;
        serialize_seq(Option<usize>) -> No;
        serialize_tuple(usize) -> No;
        serialize_tuple_struct(&'static str, usize) -> No;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> No;
        serialize_map(Option<usize>) -> No;
        serialize_struct(&'static str, usize) -> No;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> No;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<CString, ConvertError> {
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<CString, ConvertError> {
        text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<CString, ConvertError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<CString, ConvertError> {
        Err(ConvertError::new(
            "a map's key is neither a text nor a number",
        ))
    }
}

/// As a map. Names and texts that are no UTF-8 are shown with replacement characters, and pairs
/// named `hidden_args` as `"<hidden>"`.
impl Serialize for NvMap {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self {
            if super::map::is_hidden(name) {
                map.serialize_entry(&name.to_string_lossy(), "<hidden>")?;
            } else {
                map.serialize_entry(&name.to_string_lossy(), value)?;
            }
        }
        map.end()
    }
}

/// As a number, a text, a truth value, a sequence or a map. A flag is `true`.
impl Serialize for Value {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Boolean => true.serialize(serializer),
            Self::BooleanValue(value) => value.serialize(serializer),
            Self::Byte(value) | Self::Uint8(value) => value.serialize(serializer),
            Self::Int8(value) => value.serialize(serializer),
            Self::Int16(value) => value.serialize(serializer),
            Self::Uint16(value) => value.serialize(serializer),
            Self::Int32(value) => value.serialize(serializer),
            Self::Uint32(value) => value.serialize(serializer),
            Self::Int64(value) | Self::Hrtime(value) => value.serialize(serializer),
            Self::Uint64(value) => value.serialize(serializer),
            Self::Double(value) => value.serialize(serializer),
            Self::String(value) => value.to_string_lossy().serialize(serializer),
            Self::List(value) => value.serialize(serializer),
            Self::ByteArray(items) | Self::Uint8Array(items) => items.serialize(serializer),
            Self::Int8Array(items) => items.serialize(serializer),
            Self::Int16Array(items) => items.serialize(serializer),
            Self::Uint16Array(items) => items.serialize(serializer),
            Self::Int32Array(items) => items.serialize(serializer),
            Self::Uint32Array(items) => items.serialize(serializer),
            Self::Int64Array(items) => items.serialize(serializer),
            Self::Uint64Array(items) => items.serialize(serializer),
            Self::BooleanArray(items) => items.serialize(serializer),
            Self::ListArray(items) => items.serialize(serializer),
            Self::StringArray(items) => {
                serializer.collect_seq(items.iter().map(|item| item.to_string_lossy()))
            }
        }
    }
}
