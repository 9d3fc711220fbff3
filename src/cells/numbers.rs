//! A column of numbers of any dtype, some of which may be missing.

use std::ops::Range;

use super::Column;
use crate::array::{DType, Element, Values};
use crate::error::{Error, Result};

/// Numbers of one dtype with, where the column has one, a mask of those that are missing.
///
/// A float that is NaN is missing too: Python writes missing floats so.
#[derive(Clone, Debug)]
pub struct Numbers {
    values: Values,
    missing: Option<Vec<bool>>,
}

impl Numbers {
    /// Joins values and a mask that is true where one is missing (what stands there is then never read).
    ///
    /// # Errors
    /// `BadArgument` when the lengths differ.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::cells::Numbers;
    /// let ages = Numbers::nullable(vec![31i32, 0, 58].into(), vec![false, true, false])?;
    /// assert_eq!((ages.text(0).as_deref(), ages.text(1)), (Some("31"), None));
    /// assert!(ages.to_f64()[1].is_nan());
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn nullable(values: Values, missing: Vec<bool>) -> Result<Self> {
        if values.len() == missing.len() {
            return Ok(Numbers { values, missing: Some(missing) });
        }
        let found = format!("{} values", missing.len());
        Err(Error::bad_argument("build a column", "missing", found, format!("{}, as there are numbers", values.len())))
    }

    /// Returns the number of values, missing ones included.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Copies a run of rows.
    ///
    /// # Panics
    /// When the range reaches beyond the values.
    pub fn slice(&self, rows: Range<usize>) -> Numbers {
        let missing = self.missing.as_ref().map(|missing| missing[rows.clone()].to_vec());
        Numbers { values: self.values.slice(rows), missing }
    }

    /// Returns the dtype.
    pub fn dtype(&self) -> DType {
        self.values.dtype()
    }

    /// Returns the values; what stands where one is missing means nothing.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Returns the mask, true where a value is missing, if the column has one.
    pub fn missing(&self) -> Option<&[bool]> {
        self.missing.as_deref()
    }

    /// Returns whether the value of a row is missing: masked, or NaN.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn is_missing(&self, row: usize) -> bool {
        self.missing.as_ref().is_some_and(|missing| missing[row]) || self.values.at(row).is_nan()
    }

    /// Copies the values as float64; a missing one is NaN, integers beyond 2⁵³ are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        let mut all = self.values.to_vec::<f64>();
        for (value, _) in all.iter_mut().zip(self.missing.iter().flatten()).filter(|(_, missing)| **missing) {
            *value = f64::NAN;
        }
        all
    }

    /// Returns the value of a row as text, exact in its dtype; `None` where it is missing or there is no such row.
    pub fn text(&self, row: usize) -> Option<String> {
        if row >= self.len() || self.is_missing(row) {
            return None;
        }
        Some(crate::array::with_values!(&self.values, buffer => buffer[row].to_string()))
    }
}

/// Equal dtypes, masks and values, NaN being equal to itself.
impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        let same = |row: usize| match (self.is_missing(row), other.is_missing(row)) {
            (false, false) => self.text(row) == other.text(row),
            (a, b) => a == b,
        };
        self.dtype() == other.dtype()
            && self.len() == other.len()
            && self.missing.is_some() == other.missing.is_some()
            && (0..self.len()).all(same)
    }
}

impl From<Values> for Numbers {
    fn from(values: Values) -> Self {
        Numbers { values, missing: None }
    }
}

impl<T: Element> From<Vec<T>> for Column {
    fn from(values: Vec<T>) -> Self {
        Column::Numbers(Numbers::from(Values::from(values)))
    }
}
