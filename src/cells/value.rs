//! What `uns` holds: values of any kind, in groups of groups.

use std::collections::BTreeMap;

use super::{Column, Frame};
use crate::array::{Array, DType, Element, Values};

/// Numbers of any number of dimensions, in memory, row-major; of none for a single number.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The length along each dimension.
    pub shape: Vec<u64>,
    /// As many values as the product of the lengths.
    pub values: Values,
}

/// A value of `uns`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: Python's `None`.
    Null,
    /// One text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Numbers or truth values: a single one has no dimensions.
    Numbers(Tensor),
    /// Texts, of one dimension or more: the lengths, and the texts in row-major order; a missing one is `None`.
    Texts(Vec<u64>, Vec<Option<String>>),
    /// Categories, or numbers and truth values of which some are missing.
    Column(Column),
    /// Named columns.
    Frame(Frame),
    /// Records, as NumPy's structured arrays: named fields of one length.
    Records(Vec<(String, Column)>),
    /// A sparse matrix, or a dense one that is not read yet.
    Matrix(Array),
    /// Named values.
    Group(BTreeMap<String, Value>),
    /// What this version does not read: how it is encoded.
    Unknown(String),
}

impl Value {
    /// Returns the number, where this is a single one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Numbers(Tensor { shape, values }) if shape.is_empty() && values.len() == 1 => Some(values.at(0)),
            _ => None,
        }
    }

    /// Returns the text, where this is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a member, where this is a group that has it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Group(members) => members.get(name),
            _ => None,
        }
    }

    /// Builds a vector of numbers.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::cells::Value;
    /// let shares = Value::vector(vec![0.7, 0.2]);
    /// assert!(matches!(shares, Value::Numbers(tensor) if tensor.shape == [2]));
    /// ```
    pub fn vector<T: Element>(values: Vec<T>) -> Value {
        Value::Numbers(Tensor { shape: vec![values.len() as u64], values: values.into() })
    }

    /// Builds a group of named values.
    pub fn group<const N: usize>(members: [(&str, Value); N]) -> Value {
        Value::Group(members.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }
}

macro_rules! from_number {
    ($($type:ty),*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::Numbers(Tensor { shape: Vec::new(), values: vec![value].into() })
            }
        })*
    };
}
from_number!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        let values = Values::from(vec![u8::from(value)]).cast(DType::Bool);
        Value::Numbers(Tensor { shape: Vec::new(), values })
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.into())
    }
}
