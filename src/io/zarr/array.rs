//! An array of a store, read by runs along its first dimension.
//!
//! Values begin as the fill value and chunks are copied over them, so that a chunk that is not stored costs nothing. A run
//! of numbers is gathered into its own type at once; texts of a fixed length and fields of records are gathered as bytes
//! and then read.

use std::ops::Range;
use std::sync::Arc;

use super::super::tree::{Elements, TreeArray};
use super::super::values::read_as;
use super::chunk::native;
use super::grid::each_piece;
use super::meta::{ArrayMeta, Element, Field, Fill};
use super::store::Store;
use super::texts;
use crate::array::{DType, Values};
use crate::cells::{Column, Numbers};
use crate::error::Result;

/// An open array.
#[derive(Debug)]
pub(super) struct ZarrArray {
    pub(super) store: Arc<Store>,
    pub(super) place: String,
    /// With one dimension of one element where the array has none.
    pub(super) meta: ArrayMeta,
    pub(super) is_scalar: bool,
    pub(super) elements: Elements,
    /// The most bytes that are read at once.
    pub(super) most_bytes: u64,
}

impl ZarrArray {
    pub(super) fn new(store: Arc<Store>, place: String, mut meta: ArrayMeta, most_bytes: u64) -> Self {
        let elements = match &meta.element {
            Element::Number { dtype, .. } => Elements::Numbers(*dtype),
            Element::Utf32 { .. } | Element::Bytes { .. } | Element::Texts => Elements::Texts,
            Element::Record { fields, .. } => {
                Elements::Records(fields.iter().map(|field| field.name.clone()).collect())
            }
            Element::Other { name, .. } => Elements::Other(name.clone()),
        };
        let is_scalar = meta.shape.is_empty();
        if is_scalar {
            for shape in [&mut meta.shape, &mut meta.object, &mut meta.chunk] {
                *shape = vec![1];
            }
            meta.order = vec![0];
        }
        ZarrArray { store, place, meta, is_scalar, elements, most_bytes }
    }

    /// Returns the length along each dimension, one where the array has none.
    pub(super) fn dims(&self) -> &[u64] {
        &self.meta.shape
    }

    /// Reads a run of numbers, as many as the caller has room for.
    pub(super) fn numbers(&self, range: Range<u64>, dtype: DType) -> Result<Values> {
        let (window, count) = self.window(range)?;
        Ok(read_as!(dtype, T => {
            let fill: T = match self.meta.fill.bytes() {
                bytes if bytes.len() == size_of::<T>() => bytemuck::pod_read_unaligned(bytes),
                _ => T::default(),
            };
            let mut values = vec![fill; count];
            self.gather(&window, 0..size_of::<T>(), size_of::<T>(), bytemuck::cast_slice_mut(&mut values))?;
            values
        }))
    }

    /// Returns the run with all other dimensions whole, and how many elements that is.
    fn window(&self, range: Range<u64>) -> Result<(Vec<Range<u64>>, usize)> {
        let rest = self.dims()[1..].iter().map(|len| 0..*len);
        if range.start > range.end || range.end > self.dims()[0] {
            let expected = format!("a run within {} elements", self.dims()[0]);
            return Err(self.store.bad(&self.place, &expected, &format!("{range:?}")));
        }
        let window: Vec<Range<u64>> = std::iter::once(range).chain(rest).collect();
        let count = super::grid::places(&window);
        Ok((window, count as usize))
    }

    /// The same for what is read whole, which the store must be able to hold.
    fn bounded_window(&self, range: Range<u64>, width: usize) -> Result<(Vec<Range<u64>>, usize)> {
        let (window, count) = self.window(range)?;
        if (count as u64).saturating_mul(width as u64) > self.most_bytes {
            let expected = format!("at most {} bytes, which is what the store can hold", self.most_bytes);
            return Err(self.store.bad(&self.place, &expected, &format!("shape {:?}", self.dims())));
        }
        Ok((window, count))
    }

    /// Copies the bytes `part` of every element of the window, each of which takes `width` in a decoded chunk.
    fn gather(&self, window: &[Range<u64>], part: Range<usize>, width: usize, out: &mut [u8]) -> Result<()> {
        let size = part.end - part.start;
        self.each_chunk(window, |origin, chunk| {
            each_piece(&self.meta.chunk, origin, &self.meta.order, window, |piece| {
                let out = &mut out[piece.to * size..(piece.to + piece.len) * size];
                if piece.step == 1 && size == width {
                    out.copy_from_slice(&chunk[piece.from * size..(piece.from + piece.len) * size]);
                    return;
                }
                let mut at = piece.from * width + part.start;
                for value in out.chunks_exact_mut(size.max(1)) {
                    value.copy_from_slice(&chunk[at..at + size]);
                    at += piece.step * width;
                }
            })
        })
    }

    /// Reads texts of any length.
    fn gather_texts(&self, range: Range<u64>) -> Result<Vec<Option<String>>> {
        // An empty text takes as much memory as its place.
        let (window, count) = self.bounded_window(range, size_of::<Option<String>>())?;
        let in_chunk = self.meta.chunk.iter().product::<u64>() as usize;
        let mut all = vec![Some(self.meta.fill.text().to_string()); count];
        self.each_chunk(&window, |origin, chunk| {
            let read = texts::of_any_length(&chunk, in_chunk);
            let mut read = read.map_err(|why| self.store.bad(&self.place, "a chunk of texts", &why))?;
            each_piece(&self.meta.chunk, origin, &self.meta.order, &window, |piece| {
                for i in 0..piece.len {
                    all[piece.to + i] = Some(std::mem::take(&mut read[piece.from + i * piece.step]));
                }
            })
        })?;
        Ok(all)
    }

    /// Reads a part of every element in the range as a column: numbers, truth values, or texts of a fixed length.
    fn gather_column(&self, range: Range<u64>, element: &Element, offset: usize) -> Result<Column> {
        let (Some(size), Some(width)) = (element.width(), self.meta.element.width()) else {
            return Err(self.not_that("an array of fixed texts or of records"));
        };
        let (window, count) = self.bounded_window(range, size.max(size_of::<Option<String>>()))?;
        let mut bytes = vec![0; count * size];
        if size > 0 {
            self.gather(&window, offset..offset + size, width, &mut bytes)?;
        }
        Ok(match element {
            Element::Number { dtype: DType::Bool, .. } => {
                Column::Bools(native(bytes, element).into_iter().map(|byte| Some(byte == 1)).collect())
            }
            Element::Number { dtype, .. } => {
                let bytes = native(bytes, element);
                let values = read_as!(dtype, T => bytemuck::pod_collect_to_vec::<u8, T>(&bytes));
                Column::Numbers(Numbers::from(values))
            }
            Element::Utf32 { big_endian, .. } => {
                Column::Strings(texts::of_code_points(&bytes, size, count, *big_endian))
            }
            Element::Bytes { .. } => Column::Strings(texts::of_bytes(&bytes, size, count)),
            Element::Texts | Element::Record { .. } | Element::Other { .. } => {
                let what = format!("{}: elements of type {}", self.place, name_of(element));
                return Err(self.unsupported(what));
            }
        })
    }

    fn not_that(&self, expected: &str) -> crate::error::Error {
        self.store.bad(&self.place, expected, &name_of(&self.meta.element))
    }

    fn unsupported(&self, what: String) -> crate::error::Error {
        let what = format!("{}: {what}", self.store.path().display()).into();
        let instead = "store it as numbers, truth values or texts, or read another array".into();
        crate::error::Error::Unsupported { what, instead }
    }
}

/// Returns a short name of a type, for messages.
fn name_of(element: &Element) -> String {
    match element {
        Element::Number { dtype, .. } => dtype.name().into(),
        Element::Utf32 { .. } | Element::Bytes { .. } | Element::Texts => "text".into(),
        Element::Record { .. } => "records".into(),
        Element::Other { name, .. } => super::store::one_line(name),
    }
}

impl TreeArray for ZarrArray {
    fn place(&self) -> &str {
        &self.place
    }

    fn shape(&self) -> &[u64] {
        if self.is_scalar { &[] } else { self.dims() }
    }

    fn elements(&self) -> &Elements {
        &self.elements
    }

    fn chunks(&self) -> Option<Vec<u64>> {
        (!self.is_scalar).then(|| self.meta.chunk.clone())
    }

    fn scratch_bytes(&self) -> u64 {
        self.scratch()
    }

    fn read(&self, range: Range<u64>) -> Result<Values> {
        match self.elements {
            Elements::Numbers(dtype) => {
                self.bounded_window(range.clone(), dtype.size_of())?;
                self.numbers(range, dtype)
            }
            Elements::Other(_) => Err(self.unsupported(format!("{}: {}", self.place, name_of(&self.meta.element)))),
            Elements::Texts | Elements::Records(_) => Err(self.not_that("numbers")),
        }
    }

    fn read_texts(&self, range: Range<u64>) -> Result<Vec<Option<String>>> {
        match (&self.meta.element, &self.meta.fill) {
            (Element::Texts, _) => self.gather_texts(range),
            (Element::Utf32 { .. } | Element::Bytes { .. }, Fill::Text(_)) => {
                match self.gather_column(range, &self.meta.element, 0)? {
                    Column::Strings(texts) => Ok(texts),
                    _ => Err(self.not_that("texts")),
                }
            }
            _ => Err(self.not_that("texts")),
        }
    }

    fn read_field(&self, name: &str) -> Result<Column> {
        let Element::Record { fields, .. } = &self.meta.element else { return Err(self.not_that("records")) };
        let Some(Field { offset, element, .. }) = fields.iter().find(|field| field.name == name) else {
            let found = super::store::one_line(&format!("{:?}", self.elements));
            return Err(self.store.bad(&self.place, &format!("records with a field {name:?}"), &found));
        };
        self.gather_column(0..self.dims()[0], element, *offset)
    }
}
