//! Frames made of other frames: some of the rows, more columns. Nothing is read until it is asked for.
//!
//! ```text
//!   take(rows)        names, columns ─▶ those rows of what the frame reads
//!   with_columns(..)  a new column stands at the end, one of a known name in its old place; the others are read
//! ```
//!
//! Always true: a frame that is built on another reads from it each time, as the other does from its file.

use std::sync::Arc;

use super::{Categories, Column, Frame, FrameReader, Numbers};
use crate::array::{Columns, Values, with_values};
use crate::error::{Error, Result};

impl Frame {
    /// Keeps some rows, in the order and as often as given: a range, a list or a mask.
    ///
    /// # Errors
    /// `OutOfRange` for a row that does not exist, `BadArgument` for a mask of another length.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::cells::{Column, Frame};
    /// let names = vec!["a".to_string(), "b".to_string(), "c".to_string()];
    /// let frame = Frame::in_memory(names, vec![("size".to_string(), Column::from(vec![1.0, 2.0, 3.0]))])?;
    /// let kept = frame.take(vec![2u64, 0])?;
    /// assert_eq!(kept.row_names()?, ["c", "a"]);
    /// assert_eq!(kept.column("size")?.text(0), Some("3".to_string()));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn take(&self, rows: impl Into<Columns>) -> Result<Frame> {
        match list_of("take rows of a frame", rows.into(), self.len())? {
            None => Ok(self.clone()),
            Some(rows) => Ok(self.taken(rows)),
        }
    }

    /// Keeps rows that are known to exist.
    pub(super) fn taken(&self, rows: Arc<[u64]>) -> Frame {
        let (len, columns) = (rows.len() as u64, self.columns().to_vec());
        Frame::new(len, columns, Arc::new(Taken { of: self.clone(), rows }))
    }

    /// Adds a column, or puts it in the place of the one of its name.
    ///
    /// # Errors
    /// `BadArgument` when it has not one value for each row.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::cells::{Column, Frame};
    /// let frame = Frame::in_memory(vec!["a".to_string()], vec![("size".to_string(), Column::from(vec![1.0]))])?;
    /// let frame = frame.with_column("size", Column::from(vec![2u8]))?.with_column("odd", Column::Bools(vec![None]))?;
    /// assert_eq!(frame.columns(), ["size", "odd"]);
    /// assert_eq!(frame.column("size")?.text(0), Some("2".to_string()));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn with_column(&self, name: impl Into<String>, column: Column) -> Result<Frame> {
        self.with_columns(vec![(name.into(), column)])
    }

    /// Adds columns, each in the place of the one of its name if there is one; of two with one name the last counts.
    ///
    /// # Errors
    /// `BadArgument` when one has not one value for each row.
    pub fn with_columns(&self, columns: Vec<(String, Column)>) -> Result<Frame> {
        let mut names = self.columns().to_vec();
        for (name, column) in &columns {
            if column.len() as u64 != self.len() {
                let found = format!("{} values in {name:?}", column.len());
                return Err(Error::bad_argument("add a column", "columns", found, format!("{}", self.len())));
            }
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Ok(Frame::new(self.len(), names, Arc::new(Extended { of: self.clone(), columns })))
    }
}

/// Checks a choice among `n` rows or columns; `None` when it is all of them in their order.
pub(super) fn list_of(operation: &'static str, choice: Columns, n: u64) -> Result<Option<Arc<[u64]>>> {
    let refuse = |index| Error::OutOfRange { operation, index, len: n };
    match choice {
        Columns::All => Ok(None),
        Columns::Range(range) if range.start > range.end || range.end > n => Err(refuse(range.start.max(range.end))),
        Columns::Range(range) => Ok(Some(range.collect())),
        Columns::List(list) => match list.iter().find(|place| **place >= n) {
            Some(place) => Err(refuse(*place)),
            None => Ok(Some(list.into())),
        },
        Columns::Mask(mask) if mask.len() as u64 == n => {
            Ok(Some((0..n).zip(mask).filter(|(_, keep)| *keep).map(|(place, _)| place).collect()))
        }
        Columns::Mask(mask) => {
            let found = format!("{} truth values", mask.len());
            Err(Error::bad_argument(operation, "mask", found, format!("{n}, one for each place")))
        }
    }
}

/// Some rows of a frame.
#[derive(Debug)]
struct Taken {
    of: Frame,
    rows: Arc<[u64]>,
}

impl FrameReader for Taken {
    fn row_names(&self) -> Result<Vec<String>> {
        let names = self.of.row_names()?;
        Ok(self.rows.iter().map(|row| names[*row as usize].clone()).collect())
    }

    fn column(&self, name: &str) -> Result<Column> {
        Ok(self.of.column(name)?.taken(&self.rows))
    }
}

/// A frame with columns beside its own, or in place of them.
#[derive(Debug)]
struct Extended {
    of: Frame,
    columns: Vec<(String, Column)>,
}

impl FrameReader for Extended {
    fn row_names(&self) -> Result<Vec<String>> {
        self.of.row_names()
    }

    fn column(&self, name: &str) -> Result<Column> {
        match self.columns.iter().rev().find(|(known, _)| known == name) {
            Some((_, column)) => Ok(column.clone()),
            None => self.of.column(name),
        }
    }
}

fn gathered<T: Clone>(values: &[T], rows: &[u64]) -> Vec<T> {
    rows.iter().map(|row| values[*row as usize].clone()).collect()
}

impl Column {
    /// Copies the values of some rows, all of which exist. Categories keep all their names, used or not.
    pub(super) fn taken(&self, rows: &[u64]) -> Column {
        match self {
            Column::Numbers(numbers) => Column::Numbers(numbers.taken(rows)),
            Column::Strings(values) => Column::Strings(gathered(values, rows)),
            Column::Bools(values) => Column::Bools(gathered(values, rows)),
            Column::Categories(of) => {
                let codes = gathered(&of.codes, rows);
                Column::Categories(Categories { codes, names: of.names.clone(), ..*of })
            }
        }
    }
}

impl Numbers {
    fn taken(&self, rows: &[u64]) -> Numbers {
        let values = with_values!(self.values(), buffer => Values::from(gathered(buffer, rows)));
        // Truth values appear as bytes.
        let values = values.cast(self.dtype());
        match self.missing() {
            None => values.into(),
            Some(missing) => Numbers::nullable(values, gathered(missing, rows)).expect("both were gathered alike"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DType;

    fn frame() -> Frame {
        let names = (0..4).map(|i| format!("c{i}")).collect();
        let codes = Categories { ordered: true, ..Categories::new(vec![1, -1, 0, 1], vec!["B".into(), "T".into()]) };
        let ages = Numbers::nullable(vec![31i16, 0, 58, 7].into(), vec![false, true, false, false]).expect("four");
        let flags = Values::from(vec![1u8, 0, 0, 1]).cast(DType::Bool);
        let columns = vec![
            ("type".to_string(), Column::Categories(codes)),
            ("age".to_string(), Column::Numbers(ages)),
            ("flag".to_string(), Column::Numbers(flags.into())),
            ("note".to_string(), Column::Strings(vec![None, Some("x".into()), None, Some("y".into())])),
            ("ok".to_string(), Column::Bools(vec![Some(true), None, Some(false), None])),
        ];
        Frame::in_memory(names, columns).expect("four rows")
    }

    #[test]
    fn rows_are_taken_in_the_order_and_as_often_as_asked_of_every_kind_of_column() {
        let whole = frame();
        let rows = [3u64, 1, 1];
        let kept = whole.take(&rows[..]).expect("they exist");
        assert_eq!((kept.len(), kept.row_names().expect("names")), (3, vec!["c3".into(), "c1".into(), "c1".into()]));
        for name in whole.columns() {
            let (all, some) = (whole.column(name).expect("there"), kept.column(name).expect("there"));
            for (place, row) in rows.iter().enumerate() {
                assert_eq!(some.text(place), all.text(*row as usize), "{name}");
            }
        }
        assert!(
            matches!(kept.column("type").expect("there"), Column::Categories(c) if c.ordered && c.names.len() == 2)
        );
        assert!(matches!(kept.column("flag").expect("there"), Column::Numbers(n) if n.dtype() == DType::Bool));
        assert!(whole.take(Vec::<u64>::new()).expect("none").is_empty());
        assert_eq!(whole.take(Columns::All).expect("all").len(), 4);
        assert_eq!(whole.take(1u64..3).expect("two").row_names().expect("names"), ["c1", "c2"]);
        assert_eq!(whole.take(vec![false, true, false, true]).expect("two").row_names().expect("names"), ["c1", "c3"]);
    }

    #[test]
    fn rows_that_do_not_exist_and_columns_of_another_length_are_refused() {
        assert!(matches!(frame().take(vec![4u64]), Err(Error::OutOfRange { index: 4, len: 4, .. })));
        assert!(frame().take(vec![true]).is_err());
        let long = frame().with_column("age", Column::from(vec![1.0])).expect_err("one value for four rows");
        assert!(long.to_string().contains("1 values in \"age\"") && long.to_string().contains('4'), "{long}");
    }

    #[test]
    fn columns_are_added_at_the_end_and_replaced_where_they_stand() {
        let new = |x: f64| Column::from(vec![x; 4]);
        let more = frame().with_columns(vec![("new".into(), new(1.0)), ("age".into(), new(2.0))]).expect("four rows");
        assert_eq!(more.columns(), ["type", "age", "flag", "note", "ok", "new"]);
        assert_eq!(more.column("age").expect("there"), new(2.0));
        let kept = more.take(2u64..4).expect("two").with_column("new", Column::from(vec![5.0, 6.0])).expect("two rows");
        assert_eq!(kept.column("new").expect("there").text(1).as_deref(), Some("6"));
        assert_eq!(kept.column("type").expect("there").text(0).as_deref(), Some("B"));
    }
}
