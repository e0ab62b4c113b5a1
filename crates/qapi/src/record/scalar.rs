//! Numbers, booleans, strings and sizes as members of records.

use super::{Field, Form, Place};
use crate::schema::{Builtin, Schema, TypeRef};
use crate::{Result, Value, parse_integer, parse_size};

impl Field for String {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        place.word(value)
    }

    fn write(&self) -> Value {
        Value::from(self.as_str())
    }

    fn describe(_: &mut Schema) -> TypeRef {
        TypeRef::Builtin(Builtin::Str)
    }
}

impl Field for bool {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        match (value, place.form()) {
            (Value::Bool(on), _) => Ok(on),
            (Value::Str(word), Form::Keyval) => match word.as_str() {
                "on" | "yes" | "true" | "y" => Ok(true),
                "off" | "no" | "false" | "n" => Ok(false),
                _ => Err(place.expects("'on' or 'off'")),
            },
            _ => Err(place.wrong_type("boolean")),
        }
    }

    fn write(&self) -> Value {
        Value::Bool(*self)
    }

    fn describe(_: &mut Schema) -> TypeRef {
        TypeRef::Builtin(Builtin::Bool)
    }
}

impl Field for f64 {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        match (value, place.form()) {
            (Value::Float(n), _) => Ok(n),
            // A number that somebody wrote without a point; large ones lose digits, as in any JSON reader.
            (Value::Int(n), _) => n
                .to_string()
                .parse()
                .map_err(|_| place.wrong_type("number")),
            (Value::Uint(n), _) => n
                .to_string()
                .parse()
                .map_err(|_| place.wrong_type("number")),
            (Value::Str(word), Form::Keyval) => match word.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(n),
                _ => Err(place.wrong_type("number")),
            },
            _ => Err(place.wrong_type("number")),
        }
    }

    fn write(&self) -> Value {
        Value::Float(*self)
    }

    fn describe(_: &mut Schema) -> TypeRef {
        TypeRef::Builtin(Builtin::Number)
    }
}

/// The integer here, whatever its range.
fn read_integer(value: Value, place: &Place<'_>, words: &str) -> Result<i128> {
    match (value, place.form()) {
        (Value::Int(n), _) => Ok(i128::from(n)),
        (Value::Uint(n), _) => Ok(i128::from(n)),
        (Value::Str(word), Form::Keyval) => {
            parse_integer(&word).ok_or_else(|| place.expects(words))
        }
        _ => Err(place.wrong_type("integer")),
    }
}

macro_rules! integers {
    ($($ty:ty, $words:literal, $out:ident;)*) => {$(
        impl Field for $ty {
            fn read(value: Value, place: &Place<'_>) -> Result<Self> {
                let n = read_integer(value, place, "integer")?;
                Self::try_from(n).map_err(|_| place.expects($words))
            }

            fn write(&self) -> Value {
                Value::from($out::from(*self))
            }

            fn describe(_: &mut Schema) -> TypeRef {
                TypeRef::Builtin(Builtin::Int)
            }
        }
    )*};
}

integers! {
    i8, "int8_t", i64;
    u8, "uint8_t", u64;
    i16, "int16_t", i64;
    u16, "uint16_t", u64;
    i32, "int32_t", i64;
    u32, "uint32_t", u64;
    i64, "integer", i64;
}

impl Field for u64 {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        let n = read_integer(value, place, "uint64")?;
        // Negative numbers have always been taken as their two's complement.
        match i64::try_from(n) {
            Ok(signed) => Ok(signed.cast_unsigned()),
            Err(_) => Self::try_from(n).map_err(|_| place.expects("uint64")),
        }
    }

    fn write(&self) -> Value {
        Value::from(*self)
    }

    fn describe(_: &mut Schema) -> TypeRef {
        TypeRef::Builtin(Builtin::Int)
    }
}

/// A number of bytes; in option strings with a suffix (`64k`, `1.5G`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Field for Size {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        match (value, place.form()) {
            (Value::Str(word), Form::Keyval) => parse_size(&word)
                .map(Self)
                .map_err(|_| place.expects("size")),
            (value, _) => u64::read(value, place).map(Self),
        }
    }

    fn write(&self) -> Value {
        Value::from(self.0)
    }

    fn describe(_: &mut Schema) -> TypeRef {
        TypeRef::Builtin(Builtin::Int)
    }
}

/// Any value, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Any(pub Value);

impl Field for Any {
    fn read(value: Value, _: &Place<'_>) -> Result<Self> {
        Ok(Self(value))
    }

    fn write(&self) -> Value {
        self.0.clone()
    }

    fn describe(_: &mut Schema) -> TypeRef {
        TypeRef::Builtin(Builtin::Any)
    }
}

/// `null`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Null;

impl Field for Null {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        match (value, place.form()) {
            (Value::Null, _) => Ok(Self),
            (Value::Str(word), Form::Keyval) if word.is_empty() => Ok(Self),
            _ => Err(place.wrong_type("null")),
        }
    }

    fn write(&self) -> Value {
        Value::Null
    }

    fn describe(_: &mut Schema) -> TypeRef {
        TypeRef::Builtin(Builtin::Null)
    }
}
