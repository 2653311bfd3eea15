use crate::nv::{NvMap, Value};
use std::ffi::{CStr, CString};

/// An argument of a [program](super::ChannelProgram): a truth value, a number, a text, an array of
/// numbers or of texts, or a table.
///
/// Lua's numbers are `i64`. Of a list, each value is turned into what Lua has for it: numbers of
/// any width into numbers, lists into tables, arrays of lists or truth values into tables with the
/// keys `"1"`, `"2"` and so on; a list of nothing but flags is an array of their names.
///
/// What Lua has nothing for is refused when the program is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument(Result<Value, String>);

impl Argument {
    pub(super) fn value(&self) -> Result<&Value, &String> {
        self.0.as_ref()
    }
}

impl From<Value> for Argument {
    fn from(value: Value) -> Self {
        Self(to_lua(value))
    }
}

impl From<NvMap> for Argument {
    fn from(list: NvMap) -> Self {
        Self(table(list))
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self(self::text(text).map(Value::String))
    }
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&CStr> for Argument {
    fn from(text: &CStr) -> Self {
        Self(Ok(text.into()))
    }
}

impl<S: AsRef<str>> From<&[S]> for Argument {
    fn from(texts: &[S]) -> Self {
        let texts: Result<Vec<CString>, String> =
            texts.iter().map(|item| text(item.as_ref())).collect();
        Self(texts.map(|texts| array(texts, Value::StringArray)))
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for Argument {
    fn from(texts: [S; N]) -> Self {
        Self::from(texts.as_slice())
    }
}

impl From<Vec<String>> for Argument {
    fn from(texts: Vec<String>) -> Self {
        Self::from(texts.as_slice())
    }
}

macro_rules! from_value {
    ($($from:ty),*) => {$(
        impl From<$from> for Argument {
            fn from(value: $from) -> Self {
                Self(to_lua(value.into()))
            }
        }
    )*};
}

from_value!(bool, i16, i32, i64, u16, u32, u64, Vec<i64>, Vec<u64>);

fn text(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a text contains a NUL character".to_owned())
}

fn number<N: TryInto<i64> + Copy + std::fmt::Display>(number: N) -> Result<i64, String> {
    number
        .try_into()
        .map_err(|_| format!("{number} is over {}, Lua's greatest number", i64::MAX))
}

/// An array, or the empty table where there is nothing in it: an empty array has no packed form
/// that every kernel takes.
fn array<T>(items: Vec<T>, to_value: impl Fn(Vec<T>) -> Value) -> Value {
    if items.is_empty() {
        Value::List(NvMap::new())
    } else {
        to_value(items)
    }
}

fn numbers<N: TryInto<i64> + Copy + std::fmt::Display>(items: &[N]) -> Result<Value, String> {
    let numbers: Result<Vec<i64>, String> = items.iter().map(|&item| number(item)).collect();
    Ok(array(numbers?, Value::Int64Array))
}

/// Items under the keys `"1"`, `"2"` and so on.
fn numbered(items: impl Iterator<Item = Value>) -> Result<Value, String> {
    let items: Result<NvMap, String> = items
        .zip(1_usize..)
        .map(|(item, n)| Ok((text(&n.to_string())?, to_lua(item)?)))
        .collect();
    items.map(Value::List)
}

fn table(list: NvMap) -> Result<Value, String> {
    let flags = list.iter().all(|(_, value)| *value == Value::Boolean);
    if flags {
        return Ok(Value::List(list));
    }
    let table: Result<NvMap, String> = list
        .into_iter()
        .map(|(name, value)| match value {
            Value::Boolean => Ok((name, true.into())),
            value => to_lua(value)
                .map(|value| (name.clone(), value))
                .map_err(|error| format!("{}: {error}", name.to_string_lossy())),
        })
        .collect();
    table.map(Value::List)
}

/// What the kernel takes for a value: it refuses most types.
fn to_lua(value: Value) -> Result<Value, String> {
    Ok(match value {
        Value::Boolean => Value::BooleanValue(true),
        Value::BooleanValue(_) | Value::String(_) | Value::Int64(_) => value,
        Value::Byte(n) | Value::Uint8(n) => Value::Int64(n.into()),
        Value::Int8(n) => Value::Int64(n.into()),
        Value::Int16(n) => Value::Int64(n.into()),
        Value::Uint16(n) => Value::Int64(n.into()),
        Value::Int32(n) => Value::Int64(n.into()),
        Value::Uint32(n) => Value::Int64(n.into()),
        Value::Hrtime(n) => Value::Int64(n),
        Value::Uint64(n) => Value::Int64(number(n)?),
        Value::ByteArray(items) | Value::Uint8Array(items) => numbers(&items)?,
        Value::Int8Array(items) => numbers(&items)?,
        Value::Int16Array(items) => numbers(&items)?,
        Value::Uint16Array(items) => numbers(&items)?,
        Value::Int32Array(items) => numbers(&items)?,
        Value::Uint32Array(items) => numbers(&items)?,
        Value::Int64Array(items) => array(items, Value::Int64Array),
        Value::Uint64Array(items) => numbers(&items)?,
        Value::StringArray(items) => array(items, Value::StringArray),
        Value::BooleanArray(items) => numbered(items.into_iter().map(Value::BooleanValue))?,
        Value::ListArray(items) => numbered(items.into_iter().map(Value::List))?,
        Value::List(list) => table(list)?,
        Value::Double(_) => return Err("Lua in the kernel has whole numbers only".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(argument: impl Into<Argument>) -> Value {
        argument.into().value().unwrap().clone()
    }

    #[test]
    fn values_become_what_the_kernel_takes() {
        assert_eq!(passed(true), Value::BooleanValue(true));
        assert_eq!(passed(7_u64), Value::Int64(7));
        assert_eq!(passed(-7), Value::Int64(-7));
        assert_eq!(passed("a"), Value::String(c"a".into()));
        assert_eq!(passed(vec![1_u64, 2]), Value::Int64Array(vec![1, 2]));
        assert_eq!(
            passed(["a", "b"]),
            Value::StringArray(vec![c"a".into(), c"b".into()])
        );
        assert_eq!(passed(Vec::<i64>::new()), Value::List(NvMap::new()));
        assert_eq!(
            passed(Value::Uint8Array(vec![200])),
            Value::Int64Array(vec![200])
        );
    }

    #[test]
    fn lists_become_tables() {
        let mut list = NvMap::new();
        list.insert(c"flag", Value::Boolean);
        // Nothing but flags: the kernel makes an array of their names.
        assert_eq!(passed(list.clone()), Value::List(list.clone()));
        list.insert(c"n", 5_u32);
        list.insert(c"both", vec![true, false]);
        let Value::List(table) = passed(list) else {
            unreachable!("a table")
        };
        assert_eq!(table.get("flag"), Some(&Value::BooleanValue(true)));
        assert_eq!(table.i64("n"), Some(5));
        let both = table.list("both").unwrap();
        assert_eq!(both.get("2"), Some(&Value::BooleanValue(false)));
    }

    #[test]
    fn what_lua_has_not_is_refused_with_its_place() {
        let mut inner = NvMap::new();
        inner.insert(c"limit", u64::MAX);
        let mut outer = NvMap::new();
        outer.insert(c"tenant", inner);
        let error = Argument::from(outer).value().unwrap_err().clone();
        assert!(
            error.starts_with("tenant: limit: 18446744073709551615 is over"),
            "{error}"
        );
        assert!(Argument::from(Value::Double(0.5)).value().is_err());
        assert!(Argument::from("a\0b").value().is_err());
    }
}
