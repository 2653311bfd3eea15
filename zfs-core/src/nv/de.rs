//! Rust values from lists.

use super::ser::ConvertError;
use super::{Iter, NvMap, Value};
use serde::Deserialize;
use serde::de::value::SeqDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::ffi::CStr;

/// A Rust value of a list: a struct of its pairs, a map, or a sequence if its names are 1 to n.
///
/// Numbers are taken at any width that they fit. A flag is `true`, `()`, or an `Option`'s `None`:
/// so Lua's `nil` arrives. Texts are borrowed where they are valid UTF-8.
///
/// # Errors
///
/// [`ConvertError`] when the list is not what the type wants.
pub fn from_map<'de, T: Deserialize<'de>>(map: &'de NvMap) -> Result<T, ConvertError> {
    T::deserialize(FromMap(map))
}

/// A Rust value of one value of a list, as [`from_map`] reads it.
///
/// # Errors
///
/// [`ConvertError`] when the value is not what the type wants.
pub fn from_value<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, ConvertError> {
    T::deserialize(FromValue(value))
}

#[derive(Clone, Copy)]
struct FromValue<'de>(&'de Value);

#[derive(Clone, Copy)]
struct FromMap<'de>(&'de NvMap);

/// A name or a text.
#[derive(Clone, Copy)]
struct FromText<'de>(&'de CStr);

impl<'de> IntoDeserializer<'de, ConvertError> for FromMap<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> IntoDeserializer<'de, ConvertError> for FromText<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> IntoDeserializer<'de, ConvertError> for FromValue<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for FromValue<'de> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        macro_rules! sequence {
            ($items:expr) => {
                visitor.visit_seq(SeqDeserializer::new($items))
            };
        }
        match self.0 {
            Value::Boolean => visitor.visit_unit(),
            Value::BooleanValue(value) => visitor.visit_bool(*value),
            Value::Byte(value) | Value::Uint8(value) => visitor.visit_u8(*value),
            Value::Int8(value) => visitor.visit_i8(*value),
            Value::Int16(value) => visitor.visit_i16(*value),
            Value::Uint16(value) => visitor.visit_u16(*value),
            Value::Int32(value) => visitor.visit_i32(*value),
            Value::Uint32(value) => visitor.visit_u32(*value),
            Value::Int64(value) | Value::Hrtime(value) => visitor.visit_i64(*value),
            Value::Uint64(value) => visitor.visit_u64(*value),
            Value::Double(value) => visitor.visit_f64(*value),
            Value::String(text) => FromText(text).deserialize_any(visitor),
            Value::List(map) => FromMap(map).deserialize_any(visitor),
            Value::ByteArray(items) | Value::Uint8Array(items) => sequence!(items.iter().copied()),
            Value::Int8Array(items) => sequence!(items.iter().copied()),
            Value::Int16Array(items) => sequence!(items.iter().copied()),
            Value::Uint16Array(items) => sequence!(items.iter().copied()),
            Value::Int32Array(items) => sequence!(items.iter().copied()),
            Value::Uint32Array(items) => sequence!(items.iter().copied()),
            Value::Int64Array(items) => sequence!(items.iter().copied()),
            Value::Uint64Array(items) => sequence!(items.iter().copied()),
            Value::BooleanArray(items) => sequence!(items.iter().copied()),
            Value::StringArray(items) => sequence!(items.iter().map(|text| FromText(text))),
            Value::ListArray(items) => sequence!(items.iter().map(FromMap)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.0 {
            Value::Boolean => visitor.visit_bool(true),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.0 {
            Value::Boolean => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.0 {
            Value::ByteArray(bytes) | Value::Uint8Array(bytes) => {
                visitor.visit_borrowed_bytes(bytes)
            }
            Value::String(text) => visitor.visit_borrowed_bytes(text.to_bytes()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.0 {
            Value::List(map) => FromMap(map).deserialize_seq(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        match self.0 {
            Value::String(text) => FromText(text).deserialize_enum(name, variants, visitor),
            Value::List(map) => FromMap(map).deserialize_enum(name, variants, visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct map struct
        identifier ignored_any
    }
}

impl<'de> de::Deserializer<'de> for FromMap<'de> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_map(Pairs {
            left: self.0.iter(),
            current: None,
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        let mut items = Vec::with_capacity(self.0.len());
        for (name, value) in self.0 {
            let number = name.to_str().ok().and_then(|name| name.parse().ok());
            let number: usize =
                number.ok_or_else(|| ConvertError::new(format!("{name:?} is no index")))?;
            items.push((number, FromValue(value)));
        }
        items.sort_unstable_by_key(|&(number, _)| number);
        if items.iter().zip(1..).any(|(&(number, _), n)| number != n) {
            return Err(ConvertError::new("the indexes are not 1 to n"));
        }
        visitor.visit_seq(SeqDeserializer::new(
            items.into_iter().map(|(_, value)| value),
        ))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let mut pairs = self.0.iter();
        match (pairs.next(), pairs.next()) {
            (Some((name, value)), None) => visitor.visit_enum(Variant { name, value }),
            _ => Err(ConvertError::new("not a list of one variant")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct map struct identifier ignored_any
    }
}

macro_rules! numbers {
    ($($method:ident, $type:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
            match self.0.to_str().ok().and_then(|text| text.parse::<$type>().ok()) {
                Some(number) => visitor.$visit(number),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

/// A text that is wanted as a number is one if it reads so: a map's keys are all texts.
impl<'de> de::Deserializer<'de> for FromText<'de> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.0.to_str() {
            Ok(text) => visitor.visit_borrowed_str(text),
            Err(_) => visitor.visit_borrowed_bytes(self.0.to_bytes()),
        }
    }

    numbers! {
        deserialize_i8, i8, visit_i8;
        deserialize_i16, i16, visit_i16;
        deserialize_i32, i32, visit_i32;
        deserialize_i64, i64, visit_i64;
        deserialize_u8, u8, visit_u8;
        deserialize_u16, u16, visit_u16;
        deserialize_u32, u32, visit_u32;
        deserialize_u64, u64, visit_u64;
        deserialize_bool, bool, visit_bool;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_borrowed_bytes(self.0.to_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_enum(Variant {
            name: self.0,
            value: &Value::Boolean,
        })
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

struct Pairs<'de> {
    left: Iter<'de>,
    current: Option<(&'de CStr, &'de Value)>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = ConvertError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ConvertError> {
        self.current = self.left.next();
        match self.current {
            Some((name, _)) => seed.deserialize(FromText(name)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, ConvertError> {
        let (name, value) = self
            .current
            .take()
            .ok_or_else(|| ConvertError::new("a value without a name"))?;
        seed.deserialize(FromValue(value))
            .map_err(|error| error.within(&name.to_string_lossy()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

struct Variant<'de> {
    name: &'de CStr,
    value: &'de Value,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ConvertError;
    type Variant = FromValue<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, FromValue<'de>), ConvertError> {
        Ok((
            seed.deserialize(FromText(self.name))?,
            FromValue(self.value),
        ))
    }
}

impl<'de> VariantAccess<'de> for FromValue<'de> {
    type Error = ConvertError;

    fn unit_variant(self) -> Result<(), ConvertError> {
        match self.0 {
            Value::Boolean => Ok(()),
            _ => Err(ConvertError::new("the variant holds nothing")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, ConvertError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        de::Deserializer::deserialize_seq(self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        de::Deserializer::deserialize_any(self, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::to_map;
    use super::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct All {
        truth: bool,
        small: i8,
        wide: u64,
        least: i64,
        share: f64,
        letter: char,
        text: String,
        some: Option<u16>,
        none: Option<u16>,
        unit: (),
        pair: (u8, String),
        numbers: Vec<u32>,
        truths: Vec<bool>,
        empty: Vec<String>,
        nested: Vec<Vec<u8>>,
        many: Vec<Inner>,
        by_number: BTreeMap<i32, Inner>,
        plain: Kind,
        newtype: Kind,
        tuple: Kind,
        fields: Kind,
        marks: Vec<Kind>,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Inner {
        name: String,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    enum Kind {
        #[default]
        Plain,
        Newtype(Inner),
        Tuple(u8, u16),
        Fields {
            deep: Box<Kind>,
        },
    }

    fn inner(name: &str) -> Inner {
        Inner {
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = All {
            truth: true,
            small: -8,
            wide: u64::MAX,
            least: i64::MIN,
            share: 0.25,
            letter: 'ß',
            text: "Grüße".into(),
            some: Some(7),
            pair: (1, "one".into()),
            numbers: (0..20).collect(),
            truths: vec![true, false],
            nested: (0..12).map(|n| vec![n; usize::from(n)]).collect(),
            many: (0..11).map(|n| inner(&n.to_string())).collect(),
            by_number: BTreeMap::from([(-1, inner("a")), (2, inner("b"))]),
            newtype: Kind::Newtype(inner("n")),
            tuple: Kind::Tuple(1, 2),
            fields: Kind::Fields {
                deep: Box::new(Kind::Plain),
            },
            marks: vec![Kind::Plain, Kind::Tuple(3, 4)],
            ..All::default()
        };
        let map = to_map(&all).unwrap();
        assert_eq!(from_map::<All>(&map).unwrap(), all);
        // Also when it went through the kernel, whose lists have no order.
        let packed = crate::nv::encode_native(&map).unwrap();
        let back = crate::nv::decode(&packed).unwrap();
        let reversed: NvMap = back.into_iter().rev().collect();
        assert_eq!(from_map::<All>(&reversed).unwrap(), all);

        assert_eq!(map.get("none"), None);
        assert_eq!(map.get("unit"), Some(&Value::Boolean));
        assert_eq!(map.u64("wide"), Some(u64::MAX));
        assert!(matches!(map.get("numbers"), Some(Value::Uint32Array(_))));
        assert!(matches!(map.get("many"), Some(Value::ListArray(_))));
        assert_eq!(map.list("nested").map(NvMap::len), Some(12));
    }

    #[test]
    fn what_has_no_form_is_refused_with_its_place() {
        let error = |result: Result<NvMap, ConvertError>| result.unwrap_err().to_string();
        assert_eq!(error(to_map(&7)), "neither a struct nor a map");
        let holes = BTreeMap::from([("a", vec![Some(1), None])]);
        assert_eq!(error(to_map(&holes)), "a: a sequence with a hole in it");
        let nul = BTreeMap::from([("a", ["x", "y\0"])]);
        assert!(error(to_map(&nul)).starts_with("a: 2: "));
        assert!(to_map(&BTreeMap::from([("a\0", 1)])).is_err());
        assert!(to_map(&BTreeMap::from([((1, 2), 1)])).is_err());
        assert!(to_map(&BTreeMap::from([("a", u128::MAX)])).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let mut map = NvMap::new();
        map.insert(c"name", 5_u64);
        let error = from_map::<Inner>(&map).unwrap_err().to_string();
        assert!(
            error.starts_with("name: invalid type: integer `5`"),
            "{error}"
        );
        let error = from_map::<Inner>(&NvMap::new()).unwrap_err().to_string();
        assert!(error.contains("missing field"), "{error}");
        let byte = |value: Value| from_value::<u8>(&value);
        assert_eq!(byte(Value::Int64(255)).unwrap(), 255);
        assert!(byte(Value::Int64(256)).is_err());
        assert!(byte(Value::Int64(-1)).is_err());
        assert!(byte(Value::String(c"x".into())).is_err());
        for names in [[c"1", c"3"], [c"0", c"1"], [c"1", c"x"], [c"1", c"01"]] {
            let list: NvMap = names.map(|name| (name, 7_u64)).into_iter().collect();
            assert!(from_map::<Vec<u64>>(&list).is_err(), "{names:?}");
        }
        let text = Value::String(std::ffi::CString::new(vec![0xff]).unwrap());
        assert!(from_value::<String>(&text).is_err());
        assert!(from_value::<Kind>(&Value::String(c"Absent".into())).is_err());
        assert!(from_value::<Kind>(&Value::List(NvMap::new())).is_err());
    }

    #[test]
    fn flags_are_what_is_wanted_of_them() {
        assert!(from_value::<bool>(&Value::Boolean).unwrap());
        assert_eq!(from_value::<Option<bool>>(&Value::Boolean).unwrap(), None);
        assert_eq!(from_value::<()>(&Value::Boolean), Ok(()));
        assert_eq!(
            from_value::<&str>(&Value::String(c"x".into())).unwrap(),
            "x"
        );
    }

    #[test]
    fn lists_are_written_without_secrets() {
        let mut secret = NvMap::new();
        secret.insert(c"wkeydata", Value::Uint8Array(vec![7; 32]));
        let mut map = NvMap::new();
        map.insert(c"hidden_args", secret);
        map.insert(c"flag", Value::Boolean);
        map.insert(c"numbers", vec![1_u64, 2]);
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(
            json,
            r#"{"hidden_args":"<hidden>","flag":true,"numbers":[1,2]}"#
        );
    }
}
