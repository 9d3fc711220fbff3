//! What is known of each cell (obs) or each gene (var): named columns, read when they are asked for.
//!
//! A [`Frame`] knows its length and its columns' names at once, and reads the names of its rows and the values of a
//! column each time they are asked for: a file of a million cells may have hundreds of columns, of which a program
//! wants one.

use std::collections::HashSet;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use super::Numbers;
use crate::array::DType;
use crate::error::{Error, Result};

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// Numbers of any dtype.
    Numbers(Numbers),
    /// Text; a missing one is `None`.
    Strings(Vec<Option<String>>),
    /// Truth values; a missing one is `None`.
    Bools(Vec<Option<bool>>),
    /// A few names, each used many times.
    Categories(Categories),
}

/// Values that are one of a few names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Categories {
    /// For each row the place of its name, or -1 where it is missing.
    pub codes: Vec<i32>,
    /// The names.
    pub names: Vec<String>,
    /// Whether the order of the names means something.
    pub ordered: bool,
    /// What the names are where they are numbers or truth values written out: the dtype that a file stores them with.
    pub numeric: Option<DType>,
}

impl Column {
    /// Returns the number of values, missing ones included.
    pub fn len(&self) -> usize {
        match self {
            Column::Numbers(values) => values.len(),
            Column::Strings(values) => values.len(),
            Column::Bools(values) => values.len(),
            Column::Categories(categories) => categories.codes.len(),
        }
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies a run of rows; of categories, with all their names.
    ///
    /// # Panics
    /// When the range reaches beyond the values.
    pub fn slice(&self, rows: Range<usize>) -> Column {
        match self {
            Column::Numbers(values) => Column::Numbers(values.slice(rows)),
            Column::Strings(values) => Column::Strings(values[rows].to_vec()),
            Column::Bools(values) => Column::Bools(values[rows].to_vec()),
            Column::Categories(all) => {
                Column::Categories(Categories { codes: all.codes[rows].to_vec(), ..all.clone() })
            }
        }
    }

    /// Returns how many values are missing.
    pub fn n_missing(&self) -> usize {
        match self {
            Column::Numbers(values) => (0..values.len()).filter(|&row| values.is_missing(row)).count(),
            Column::Strings(values) => values.iter().filter(|x| x.is_none()).count(),
            Column::Bools(values) => values.iter().filter(|x| x.is_none()).count(),
            Column::Categories(categories) => categories.codes.iter().filter(|&&code| code < 0).count(),
        }
    }

    /// Returns the value of a row as text, or `None` where it is missing or there is no such row.
    pub fn text(&self, row: usize) -> Option<String> {
        match self {
            Column::Numbers(values) => values.text(row),
            Column::Strings(values) => values.get(row)?.clone(),
            Column::Bools(values) => (*values.get(row)?).map(|x| x.to_string()),
            Column::Categories(categories) => categories.name(row).map(str::to_string),
        }
    }
}

impl Categories {
    /// Builds categories whose names are text and in no order: codes are places of names, or -1 where one is missing.
    pub fn new(codes: Vec<i32>, names: Vec<String>) -> Self {
        Categories { codes, names, ordered: false, numeric: None }
    }

    /// Returns the name of a row, or `None` where it is missing or there is no such row.
    pub fn name(&self, row: usize) -> Option<&str> {
        let code = usize::try_from(*self.codes.get(row)?).ok()?;
        self.names.get(code).map(String::as_str)
    }
}

/// Where a frame's names and columns come from: a file of `io`, or memory.
pub trait FrameReader: Debug + Send + Sync {
    /// Reads the names of the rows.
    ///
    /// # Errors
    /// Whatever reading the file can fail with.
    fn row_names(&self) -> Result<Vec<String>>;

    /// Reads the values of one of the columns.
    ///
    /// # Errors
    /// Whatever reading the file can fail with.
    fn column(&self, name: &str) -> Result<Column>;
}

/// Named rows with named columns, read when they are asked for. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Frame {
    len: u64,
    columns: Arc<[String]>,
    reader: Arc<dyn FrameReader>,
}

impl Frame {
    /// Builds a frame of `len` rows over a reader that knows these columns.
    pub fn new(len: u64, columns: Vec<String>, reader: Arc<dyn FrameReader>) -> Self {
        Frame { len, columns: columns.into(), reader }
    }

    /// Builds a frame of values in memory.
    ///
    /// # Errors
    /// `BadArgument` when a column's length is not the number of names, or two columns have one name.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::cells::{Column, Frame};
    /// let names = vec!["a".to_string(), "b".to_string()];
    /// let frame = Frame::in_memory(names, vec![("size".to_string(), Column::from(vec![1.0, 2.0]))])?;
    /// assert_eq!(frame.column("size")?.text(1), Some("2".to_string()));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn in_memory(row_names: Vec<String>, columns: Vec<(String, Column)>) -> Result<Self> {
        let mut seen = HashSet::new();
        for (name, column) in &columns {
            if column.len() != row_names.len() {
                let found = format!("{} values in {name:?}", column.len());
                return Err(Error::bad_argument("build a frame", "columns", found, format!("{}", row_names.len())));
            }
            if !seen.insert(name.as_str()) {
                return Err(Error::bad_argument(
                    "build a frame",
                    "columns",
                    format!("{name:?} twice"),
                    "all different",
                ));
            }
        }
        let names = columns.iter().map(|(name, _)| name.clone()).collect();
        Ok(Frame::new(row_names.len() as u64, names, Arc::new(InMemory { row_names, columns })))
    }

    /// Returns the number of rows.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Reads the names of the rows. They need not differ, as genes' names do not.
    ///
    /// # Errors
    /// Whatever reading the file can fail with.
    pub fn row_names(&self) -> Result<Vec<String>> {
        self.reader.row_names()
    }

    /// Reads the values of a column.
    ///
    /// # Errors
    /// `BadArgument`, naming the columns that there are, when there is no such column; whatever reading can fail with.
    pub fn column(&self, name: &str) -> Result<Column> {
        if self.columns.iter().any(|column| column == name) {
            return self.reader.column(name);
        }
        let known = match &self.columns[..] {
            [] => "the name of a column, but there is none".to_string(),
            columns => format!("one of {}", columns.join(", ")),
        };
        Err(Error::bad_argument("read a column", "name", format!("{name:?}"), known))
    }
}

/// Values that are already there.
#[derive(Debug)]
struct InMemory {
    row_names: Vec<String>,
    columns: Vec<(String, Column)>,
}

impl FrameReader for InMemory {
    fn row_names(&self) -> Result<Vec<String>> {
        Ok(self.row_names.clone())
    }

    fn column(&self, name: &str) -> Result<Column> {
        let mut found = self.columns.iter().filter(|(known, _)| known == name);
        let (_, column) = found.next().expect("a frame asks only for columns that it was built with");
        Ok(column.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("cell {i}")).collect()
    }

    #[test]
    fn a_frame_in_memory_gives_back_what_it_was_given() {
        let codes = Categories::new(vec![1, -1, 0], vec!["B".into(), "T".into()]);
        let columns = [
            Column::from(vec![0.5, f64::NAN, 3.0]),
            Column::Strings(vec![Some("x".into()), None, Some(String::new())]),
            Column::Bools(vec![Some(true), None, Some(false)]),
            Column::Categories(codes),
        ];
        let texts = [[Some("0.5"), None, Some("3")], [Some("x"), None, Some("")]];
        let texts = [texts[0], texts[1], [Some("true"), None, Some("false")], [Some("T"), None, Some("B")]];
        for (column, texts) in columns.into_iter().zip(texts) {
            let frame = Frame::in_memory(names(3), vec![("c".into(), column)]).expect("three values");
            let column = frame.column("c").expect("it is there");
            assert_eq!((column.len(), column.n_missing()), (3, 1));
            for (row, text) in texts.into_iter().enumerate() {
                assert_eq!(column.text(row).as_deref(), text);
            }
            assert_eq!(column.text(3), None);
            assert_eq!(frame.row_names().expect("names")[2], "cell 2");
        }
    }

    #[test]
    fn wrong_lengths_and_names_are_refused() {
        let column = |n| Column::from(vec![0.0; n]);
        let long = Frame::in_memory(names(1), vec![("c".into(), column(2))]).expect_err("too long");
        assert!(long.to_string().contains("2 values in \"c\""), "{long}");
        assert!(Frame::in_memory(names(1), vec![("c".into(), column(1)), ("c".into(), column(1))]).is_err());
        let frame = Frame::in_memory(names(1), vec![("c".into(), column(1)), ("d".into(), column(1))]).expect("sound");
        let error = frame.column("e").expect_err("no such column").to_string();
        assert!(error.contains("\"e\"") && error.contains("one of c, d"), "{error}");
    }
}
