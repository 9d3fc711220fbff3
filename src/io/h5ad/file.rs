//! The one door to the HDF5 library: every call is bounded, guarded and named.
//!
//! *Bounded*: no format that this version reads expands more than 1032 times (deflate), so that a read that claims
//! more than that times the length of the file is refused before anything is allocated for it. *Guarded*: the library
//! refuses what it knows to be malformed, but it is young, and a file can be anything; should it panic on one, that is
//! an error of that file and not the end of the program. *Named*: every failure says which file and which object.
//!
//! A [`File`] may be used from several lanes at once: reads are positional, and no decoded chunk is kept, so that what
//! a block's reading holds is what `scratch_bytes` says.

use std::io::Read as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use hdf5_reader::error::Error as H5Error;
use hdf5_reader::{Dataset, FileStorage, FilterRegistry, H5Type, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem};

use super::super::input::Input;
use super::super::tree::{Attributes, NodeKind, Tree, TreeArray};
use super::array::DatasetArray;
use super::{attributes, lzf};
use crate::error::{Error, Result};

/// The most that deflate, the densest of the filters, can expand.
const MOST_EXPANSION: u64 = 1032;

/// The number under which the HDF5 Group registered Zstandard.
const ZSTD_FILTER_ID: u16 = 32015;

/// No real chunk is larger; each decoded chunk is held in memory as a whole.
const LARGEST_CHUNK: u64 = 1 << 30;

/// An open HDF5 file.
#[derive(Clone)]
pub(super) struct File {
    input: Input,
    file: Hdf5File,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("File").field(&self.input.path()).finish()
    }
}

impl File {
    /// Opens the file with its own caches, which go when the last clone goes.
    pub(super) fn open(input: &Input) -> Result<Self> {
        let most = most_bytes(input);
        let largest_chunk = most.min(LARGEST_CHUNK) as usize;
        let mut filters = FilterRegistry::new();
        let decompress = move |data: &[u8]| {
            lzf::decompress(data, largest_chunk).ok_or_else(|| H5Error::DecompressionError("not LZF".into()))
        };
        filters.register(lzf::FILTER_ID, Box::new(move |_, data, _| decompress(data)));
        filters.register(ZSTD_FILTER_ID, Box::new(move |_, data, _| decompress_zstd(data, largest_chunk)));
        let options = OpenOptions {
            chunk_cache_bytes: 0,
            filter_registry: Some(filters),
            max_chunk_bytes: largest_chunk,
            max_read_bytes: usize::try_from(most).unwrap_or(usize::MAX),
            max_object_header_bytes: 16 << 20,
            ..OpenOptions::default()
        };
        let file = guarded(input, "the file", || {
            let storage = FileStorage::from_file(input.file().try_clone()?)?;
            Hdf5File::from_storage_with_options(Arc::new(storage), options)
        })?;
        Ok(File { input: input.clone(), file })
    }

    /// Returns the file below.
    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// Returns the names of the groups and of the data sets in a group.
    fn member_names(&self, group: &str) -> Result<(Vec<String>, Vec<String>)> {
        guarded(&self.input, group, || self.file.group(group)?.member_names())
    }

    /// Reads a run of a vector, or of the rows of a matrix with all their columns, in row-major order.
    pub(super) fn read<T: H5Type>(&self, dataset: &Dataset, place: &str, range: Range<u64>) -> Result<Vec<T>> {
        if dataset.ndim() == 0 {
            let values = guarded(&self.input, place, || dataset.read_array::<T>())?;
            return Ok(values.into_raw_vec_and_offset().0);
        }
        let shape = dataset.shape();
        let cols = shape.iter().skip(1).fold(1u64, |cols, &len| cols.saturating_mul(len));
        if range.is_empty() || cols == 0 {
            return Ok(Vec::new());
        }
        let count = (range.end - range.start).saturating_mul(cols);
        let width = guarded(&self.input, place, || dataset.raw_element_size())?.max(1) as u64;
        if count.saturating_mul(width) > self.most_bytes() {
            return Err(self.input.bad(place, "no more data than the file can hold", format!("{count} values")));
        }
        let piece = piece_rows(dataset, width);
        let mut values = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min((start / piece + 1).saturating_mul(piece));
            let read = self.read_piece::<T>(dataset, place, start..end)?;
            if start == range.start {
                if end == range.end {
                    return Ok(read);
                }
                values.reserve_exact(count as usize);
            }
            values.extend(read);
            start = end;
        }
        Ok(values)
    }

    fn read_piece<T: H5Type>(&self, dataset: &Dataset, place: &str, range: Range<u64>) -> Result<Vec<T>> {
        let slice = |range: Range<u64>| SliceInfoElem::Slice { start: range.start, end: range.end, step: 1 };
        let rest = dataset.shape().iter().skip(1);
        let count = rest.clone().product::<u64>() * (range.end - range.start);
        let selections = std::iter::once(slice(range)).chain(rest.map(|&len| slice(0..len))).collect();
        let values = guarded(&self.input, place, || dataset.read_slice::<T>(&SliceInfo { selections }))?;
        let values = values.into_raw_vec_and_offset().0;
        if values.len() as u64 != count {
            return Err(self.input.bad(place, format!("{count} values"), format!("{}", values.len())));
        }
        Ok(values)
    }
}

impl Tree for File {
    fn format(&self) -> &'static str {
        "h5ad"
    }

    fn path(&self) -> &Path {
        self.input.path()
    }

    fn stored_bytes(&self) -> u64 {
        self.input.len()
    }

    fn most_bytes(&self) -> u64 {
        most_bytes(&self.input)
    }

    fn reopen(&self) -> Result<Arc<dyn Tree>> {
        Ok(Arc::new(File::open(&self.input)?))
    }

    fn check_unchanged(&self) -> Result<()> {
        self.input.check_unchanged()
    }

    fn find(&self, path: &str) -> Result<Option<NodeKind>> {
        let (mut parent, mut kind) = (String::new(), NodeKind::Group);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if kind == NodeKind::Array {
                return Ok(None);
            }
            let (groups, datasets) = self.member_names(&parent)?;
            kind = match (groups.iter().any(|known| known == name), datasets.iter().any(|known| known == name)) {
                (true, _) => NodeKind::Group,
                (false, true) => NodeKind::Array,
                (false, false) => return Ok(None),
            };
            parent = if parent.is_empty() { name.to_string() } else { format!("{parent}/{name}") };
        }
        Ok(Some(kind))
    }

    fn members(&self, group: &str) -> Result<Vec<(String, NodeKind)>> {
        let (groups, datasets) = self.member_names(group)?;
        let groups = groups.into_iter().map(|name| (name, NodeKind::Group));
        let mut members: Vec<_> = groups.chain(datasets.into_iter().map(|name| (name, NodeKind::Array))).collect();
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(members)
    }

    fn attributes(&self, path: &str) -> Result<Attributes> {
        let kind = self.find(path)?.ok_or_else(|| self.bad(path, "a group or a data set", "nothing of that name"))?;
        let found = guarded(&self.input, path, || match kind {
            NodeKind::Group => self.file.group(path)?.attributes(),
            NodeKind::Array => Ok(self.file.dataset(path)?.attributes()),
        })?;
        found
            .into_iter()
            .map(|attribute| Ok((attribute.name.clone(), attributes::value(self, path, &attribute)?)))
            .collect()
    }

    fn array(&self, path: &str) -> Result<Arc<dyn TreeArray>> {
        match self.find(path)? {
            Some(NodeKind::Array) => {}
            Some(NodeKind::Group) => return Err(self.bad(path, "a data set", "a group")),
            None => return Err(self.bad(path, "a data set", "nothing of that name")),
        }
        let dataset = guarded(&self.input, path, || self.file.dataset(path))?;
        Ok(Arc::new(DatasetArray::new(self.clone(), path, dataset)?))
    }
}

/// Data is read in pieces of about this size, so that what the library holds besides the answer is bounded.
const PIECE_BYTES: u64 = 1 << 20;

/// Returns by how many rows data is read: a multiple of the chunks' rows, so that no chunk is decoded for two pieces.
fn piece_rows(dataset: &Dataset, width: u64) -> u64 {
    let row_bytes = dataset.shape().iter().skip(1).fold(width.max(1), |bytes, &len| bytes.saturating_mul(len.max(1)));
    let chunk_rows = dataset.chunks().and_then(|dims| dims.first().copied()).map_or(1, |rows| u64::from(rows.max(1)));
    (PIECE_BYTES / row_bytes.saturating_mul(chunk_rows)).max(1) * chunk_rows
}

/// Returns the bytes that reading any run of rows holds at most besides the answer: a piece as it is stored and as it is
/// decoded, and a chunk as it is stored, between two filters, and decoded.
pub(super) fn scratch_bytes(dataset: &Dataset, width: u64) -> u64 {
    let rows = piece_rows(dataset, width).min(dataset.shape().first().copied().unwrap_or(0));
    let piece =
        dataset.shape().iter().skip(1).fold(rows.saturating_mul(width), |bytes, &len| bytes.saturating_mul(len));
    let chunk = dataset.chunks().map_or(0, |dims| dims.iter().fold(width, |n, &d| n.saturating_mul(d.into())));
    piece.saturating_mul(2).saturating_add(chunk.saturating_mul(3))
}

/// Returns the most bytes that the data of this file can have, and a little for files that hold next to nothing.
fn most_bytes(input: &Input) -> u64 {
    input.len().saturating_mul(MOST_EXPANSION).saturating_add(1 << 20)
}

/// Decompresses a chunk to at most `limit` bytes.
fn decompress_zstd(data: &[u8], limit: usize) -> std::result::Result<Vec<u8>, H5Error> {
    let mut out = Vec::new();
    let frames = zstd::stream::read::Decoder::with_buffer(data);
    frames
        .and_then(|frames| frames.take(limit as u64 + 1).read_to_end(&mut out))
        .map_err(|why| H5Error::DecompressionError(format!("zstd: {why}")))?;
    if out.len() > limit {
        return Err(H5Error::DecompressionError("more than a chunk of this file can hold".into()));
    }
    Ok(out)
}

/// Runs a call of the HDF5 library; whatever happens in it becomes an error that names the file and the place.
pub(super) fn guarded<T>(
    input: &Input,
    place: &str,
    call: impl FnOnce() -> std::result::Result<T, H5Error>,
) -> Result<T> {
    let place = if place.is_empty() { "/" } else { place };
    // The library's state may be inconsistent after a panic, but its locks do not poison, its caches hold only what
    // was parsed to the end, and this file's reader is dropped once the error arrives.
    let error = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(_) => return Err(input.bad(place, "readable HDF5", "bytes on which the HDF5 reader panicked")),
    };
    // A file that was cut or replaced while it was read should not be called malformed.
    input.check_unchanged()?;
    Err(translate(input, place, error))
}

fn translate(input: &Input, place: &str, error: H5Error) -> Error {
    match error {
        H5Error::Io(source) => Error::io("read", input.path(), source),
        H5Error::Context { source, .. } => translate(input, place, *source),
        H5Error::InvalidMagic => input.bad("byte 0", "the signature of an HDF5 file", "something else"),
        H5Error::UnsupportedFilter(filter) => {
            let name = match filter.as_str() {
                "filter id 32001" => "blosc",
                "filter id 32026" => "blosc2",
                other => other,
            };
            let what = format!("{place}: the compression {name}");
            input.unsupported(what, "write the file again with compression='gzip' or 'lzf'")
        }
        H5Error::ResourceLimit(why) => input.bad(place, "no more data than the file can hold", why),
        other => input.bad(place, "readable HDF5", one_line(&other.to_string())),
    }
}

/// Messages are one line, whatever names a file puts into them.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
