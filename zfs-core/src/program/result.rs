use crate::nv::{NvMap, Value};

/// What a program returned: one value, or nothing.
///
/// Lua's types arrive as these: a truth value as [`Value::BooleanValue`], a number as
/// [`Value::Int64`], a text as [`Value::String`], a table as [`Value::List`] whose names are the keys
/// as text. So an array `{a, b}` is a list with the names `1` and `2`, in no certain order.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramResult {
    #[cfg(feature = "serde")]
    pool: String,
    value: Option<Value>,
}

impl ProgramResult {
    pub(super) fn new(pool: &str, value: Option<Value>) -> Self {
        #[cfg(not(feature = "serde"))]
        let _ = pool;
        Self {
            #[cfg(feature = "serde")]
            pool: pool.to_owned(),
            // So the kernel passes `nil`.
            value: value.filter(|value| *value != Value::Boolean),
        }
    }

    /// The value. `None` when the program returned nothing, or `nil`.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// The value, owned.
    #[must_use]
    pub fn into_value(self) -> Option<Value> {
        self.value
    }

    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.value()?.as_i64()
    }

    /// The text, if it is one and valid UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.value()?.as_str()
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn truth(&self) -> Option<bool> {
        self.value()?.as_bool()
    }

    /// The table, if it is one.
    #[must_use]
    pub fn table(&self) -> Option<&NvMap> {
        self.value()?.as_list()
    }

    /// The value as a type of serde's. A table is read as a struct or a map, or as a sequence when
    /// its keys are 1 to n, or when it is empty. Nothing, and `nil`, is `()` or an `Option`'s `None`.
    ///
    /// # Errors
    ///
    /// [`Protocol`](crate::ErrorKind::Protocol) when the value is not of this type; the program has
    /// run nevertheless.
    #[cfg(feature = "serde")]
    pub fn get<'de, T: serde::Deserialize<'de>>(&'de self) -> crate::Result<T> {
        use serde::de::value::UnitDeserializer;
        match self.value() {
            Some(value) => crate::nv::from_value(value),
            None => T::deserialize(UnitDeserializer::<crate::nv::ConvertError>::new()),
        }
        .map_err(|error| {
            crate::Error::protocol(
                super::OPERATION,
                &*self.pool,
                format!("the program's result: {error}"),
            )
        })
    }
}
