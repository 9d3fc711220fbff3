//! A data set of an HDF5 file as an array of the tree.

use std::ops::Range;

use hdf5_reader::{Dataset, Datatype};

use super::super::input::check_rows;
use super::super::tree::{Elements, Tree, TreeArray};
use super::element::{dtype_of, read_values, type_name};
use super::file::{File, guarded, scratch_bytes};
use super::records;
use super::strings::{is_string, read_strings};
use crate::array::Values;
use crate::cells::Column;
use crate::error::Result;

/// An open data set.
pub(super) struct DatasetArray {
    file: File,
    place: String,
    dataset: Dataset,
    /// As the data set's, but of a data set that holds nothing at all `[0]`.
    shape: Vec<u64>,
    elements: Elements,
    /// The bytes of an element as it is stored.
    width: u64,
}

impl std::fmt::Debug for DatasetArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasetArray").field("file", &self.file).field("place", &self.place).finish_non_exhaustive()
    }
}

impl DatasetArray {
    pub(super) fn new(file: File, place: &str, dataset: Dataset) -> Result<Self> {
        let width = guarded(file.input(), place, || dataset.raw_element_size())?.max(1) as u64;
        let shape = match (dataset.shape(), dataset.num_elements()) {
            ([], Ok(0)) => vec![0],
            (shape, _) => shape.to_vec(),
        };
        let elements = match dataset.dtype() {
            Datatype::Compound { fields, .. } => Elements::Records(fields.iter().map(|f| f.name.clone()).collect()),
            text if is_string(text) => Elements::Texts,
            other => dtype_of(other).map_or_else(|| Elements::Other(type_name(other)), Elements::Numbers),
        };
        Ok(DatasetArray { file, place: place.into(), dataset, shape, elements, width })
    }

    /// Checks that a run lies within the array, and that its elements are no more than the file can hold.
    fn check(&self, range: &Range<u64>) -> Result<()> {
        let len = self.shape.first().copied().unwrap_or(1);
        check_rows(range, len)?;
        let row = self.shape.iter().skip(1).fold(self.width, |bytes, &n| bytes.saturating_mul(n));
        if (range.end - range.start).saturating_mul(row) <= self.file.most_bytes() {
            return Ok(());
        }
        let found = format!("shape {:?}", self.shape);
        Err(self.file.bad(&self.place, "no more values than the file can hold", &found))
    }

    fn is_null(&self) -> bool {
        self.shape.len() != self.dataset.ndim()
    }
}

impl TreeArray for DatasetArray {
    fn place(&self) -> &str {
        &self.place
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn elements(&self) -> &Elements {
        &self.elements
    }

    fn chunks(&self) -> Option<Vec<u64>> {
        self.dataset.chunks().map(|dims| dims.into_iter().map(u64::from).collect())
    }

    fn scratch_bytes(&self) -> u64 {
        scratch_bytes(&self.dataset, self.width)
    }

    fn read(&self, range: Range<u64>) -> Result<Values> {
        self.check(&range)?;
        let Elements::Numbers(dtype) = self.elements else {
            return Err(self.file.bad(&self.place, "numbers", &type_name(self.dataset.dtype())));
        };
        if self.is_null() || range.is_empty() {
            return Ok(Values::with_capacity(dtype, 0));
        }
        read_values(&self.file, &self.dataset, &self.place, dtype, range)
    }

    fn read_texts(&self, range: Range<u64>) -> Result<Vec<Option<String>>> {
        self.check(&range)?;
        if self.elements != Elements::Texts {
            return Err(self.file.bad(&self.place, "strings", &type_name(self.dataset.dtype())));
        }
        if self.is_null() || range.is_empty() {
            return Ok(Vec::new());
        }
        read_strings(&self.file, &self.dataset, &self.place, range)
    }

    fn read_field(&self, name: &str) -> Result<Column> {
        self.read_field_run(name, 0..self.shape.first().copied().unwrap_or(1))
    }

    fn read_field_run(&self, name: &str, range: Range<u64>) -> Result<Column> {
        self.check(&range)?;
        match self.dataset.dtype() {
            Datatype::Compound { fields, .. } if self.shape.len() <= 1 => {
                let missing = || self.file.bad(&self.place, &format!("a field {name:?}"), "none of that name");
                let field = fields.iter().find(|field| field.name == name).ok_or_else(missing)?;
                records::read(&self.file, &self.dataset, &self.place, field, range)
            }
            other => Err(self.file.bad(&self.place, "a table, one row each", &type_name(other))),
        }
    }
}
