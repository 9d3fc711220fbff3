//! How an array that is written is cut, described and encoded: whole rows, perhaps in shards.

use serde_json::{Map, Value, json};

use super::super::codecs;
use super::super::tree::{Compression, NewArray};
use super::meta::LARGEST_CHUNK;
use super::tree::Version;
use super::write::StoreOptions;
use crate::array::{DType, Values};
use crate::error::{Error, Result};

/// The cut of an array and its compression.
#[derive(Clone, Debug)]
pub(super) struct ArrayLayout {
    shape: Vec<u64>,
    chunk_rows: u64,
    /// The rows of a chunk within a shard; `chunk_rows` without shards.
    inner_rows: u64,
    width: usize,
    dtype: DType,
    compression: Compression,
}

impl ArrayLayout {
    pub(super) fn new(new: &NewArray<'_>, options: &StoreOptions) -> Result<Self> {
        let row_values = new.shape.iter().skip(1).try_fold(1u64, |values, len| values.checked_mul((*len).max(1)));
        let width = new.dtype.size_of();
        let row_bytes = row_values.and_then(|values| values.checked_mul(width as u64));
        let chunk_rows = new.chunk_rows.max(1);
        let Some(row_bytes) = row_bytes.filter(|bytes| bytes.saturating_mul(chunk_rows) <= LARGEST_CHUNK) else {
            let found = format!("{chunk_rows} rows of shape {:?}", new.shape);
            return Err(Error::bad_argument("write zarr", "chunk_rows", found, "chunks of at most 1 GiB"));
        };
        let inner_rows = match options.inner_bytes {
            Some(bytes) if options.version == Version::V3 && !new.shape.is_empty() => {
                divisor_up_to(chunk_rows, (bytes / row_bytes).max(1))
            }
            _ => chunk_rows,
        };
        let (shape, dtype, compression) = (new.shape.clone(), new.dtype, new.compression);
        Ok(ArrayLayout { shape, chunk_rows, inner_rows, width, dtype, compression })
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Returns how many chunks there are: none of an array without elements.
    pub(super) fn n_chunks(&self) -> u64 {
        match self.shape.first() {
            None => 1,
            Some(_) if self.shape.contains(&0) => 0,
            Some(rows) => rows.div_ceil(self.chunk_rows),
        }
    }

    fn is_sharded(&self) -> bool {
        self.inner_rows < self.chunk_rows
    }

    fn chunk(&self, rows: u64) -> Vec<u64> {
        let lens = self.shape.iter().enumerate();
        lens.map(|(axis, len)| if axis == 0 { rows } else { (*len).max(1) }).collect()
    }

    fn values_in(&self, rows: u64) -> usize {
        self.chunk(rows).iter().product::<u64>() as usize
    }

    /// Returns the array's metadata, but for its attributes.
    pub(super) fn metadata(&self, dtype: Value, fill: Value, version: Version) -> Map<String, Value> {
        let chunk = self.chunk(self.chunk_rows);
        let node = match version {
            Version::V2 => json!({
                "shape": self.shape, "chunks": chunk, "dtype": dtype, "fill_value": fill, "order": "C",
                "filters": null, "compressor": self.codec_v2(), "dimension_separator": ".",
            }),
            Version::V3 => json!({
                "shape": self.shape, "data_type": dtype, "fill_value": fill, "storage_transformers": [],
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "codecs": if self.is_sharded() { self.sharding() } else { self.codecs_v3() },
            }),
        };
        let Value::Object(node) = node else { unreachable!("the macro was given an object") };
        node
    }

    fn codec_v2(&self) -> Value {
        match self.compression {
            Compression::None => Value::Null,
            Compression::Gzip(level) => json!({"id": "gzip", "level": level.min(9)}),
            Compression::Zstd(level) => json!({"id": "zstd", "level": level.clamp(1, 22)}),
            Compression::BloscLz4 => {
                json!({"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0})
            }
        }
    }

    fn codecs_v3(&self) -> Value {
        let bytes = if self.width == 1 {
            json!({"name": "bytes"})
        } else {
            json!({"name": "bytes", "configuration": {"endian": "little"}})
        };
        let (name, configuration) = match self.compression {
            Compression::None => return json!([bytes]),
            Compression::Gzip(level) => ("gzip", json!({"level": level.min(9)})),
            Compression::Zstd(level) => ("zstd", json!({"level": level.clamp(1, 22), "checksum": false})),
            Compression::BloscLz4 => {
                let width = self.width;
                let blosc =
                    json!({"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": width, "blocksize": 0});
                ("blosc", blosc)
            }
        };
        json!([bytes, {"name": name, "configuration": configuration}])
    }

    fn sharding(&self) -> Value {
        let index = json!([{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]);
        let configuration = json!({
            "chunk_shape": self.chunk(self.inner_rows), "codecs": self.codecs_v3(),
            "index_codecs": index, "index_location": "end",
        });
        json!([{"name": "sharding_indexed", "configuration": configuration}])
    }

    /// Returns what encoding holds besides the values: a padded copy, what a codec makes of it, and the shard.
    pub(super) fn scratch_bytes(&self) -> u64 {
        let [chunk, inner] = [self.chunk_rows, self.inner_rows].map(|rows| (self.values_in(rows) * self.width) as u64);
        let index = if self.is_sharded() { 16 * (self.chunk_rows / self.inner_rows) + 4 } else { 0 };
        // No codec makes data longer than by an eighth, but while its buffer grows two of them are held. The compressors'
        // own tables: below 4 MiB up to level 9 of zstd on chunks of any size, more above.
        let tables = if matches!(self.compression, Compression::Zstd(10..)) { 256 << 20 } else { 8 << 20 };
        let packed = chunk + chunk / 8 + 1024;
        2 * packed + 4 * (inner + inner / 8 + 1024) + index + tables
    }

    /// Encodes the values of a chunk, of which the last may be short.
    pub(super) fn encode(&self, values: &Values) -> std::io::Result<Vec<u8>> {
        let expected = self.values_in(self.chunk_rows);
        if values.len() > expected || values.dtype() != self.dtype {
            let why =
                format!("{} values of {} for a chunk of {expected} of {}", values.len(), values.dtype(), self.dtype);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, why));
        }
        let bytes = values.as_bytes();
        let inner = self.values_in(self.inner_rows) * self.width;
        if !self.is_sharded() {
            return self.encode_one(bytes, inner);
        }
        let (mut shard, mut index) = (Vec::new(), Vec::new());
        for number in 0..(self.chunk_rows / self.inner_rows) as usize {
            let start = bytes.len().min(number * inner);
            let part = &bytes[start..bytes.len().min(start + inner)];
            let (offset, len) = if part.is_empty() {
                // Beyond the last row there is nothing to store.
                (u64::MAX, u64::MAX)
            } else {
                let stored = self.encode_one(part, inner)?;
                let place = (shard.len() as u64, stored.len() as u64);
                shard.extend_from_slice(&stored);
                place
            };
            index.extend_from_slice(&offset.to_le_bytes());
            index.extend_from_slice(&len.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&index);
        shard.extend_from_slice(&index);
        shard.extend_from_slice(&checksum.to_le_bytes());
        Ok(shard)
    }

    /// Encodes bytes of this machine's order, filled up with zeros to `len`.
    fn encode_one(&self, bytes: &[u8], len: usize) -> std::io::Result<Vec<u8>> {
        let mut whole = std::borrow::Cow::Borrowed(bytes);
        if whole.len() < len {
            let mut padded = Vec::with_capacity(len);
            padded.extend_from_slice(bytes);
            padded.resize(len, 0);
            whole = padded.into();
        }
        if cfg!(target_endian = "big") {
            whole.to_mut().chunks_exact_mut(self.width).for_each(<[u8]>::reverse);
        }
        match self.compression {
            Compression::None => Ok(whole.into_owned()),
            Compression::Gzip(level) => codecs::gzip(&whole, level),
            Compression::Zstd(level) => codecs::zstd(&whole, level),
            Compression::BloscLz4 => Ok(codecs::blosc::encode(&whole, self.width)),
        }
    }
}

/// Returns the largest divisor of `n` that is at most `most`.
fn divisor_up_to(n: u64, most: u64) -> u64 {
    let small = (1..).take_while(|d| d * d <= n).filter(|d| n.is_multiple_of(*d));
    small.flat_map(|d| [d, n / d]).filter(|d| *d <= most).max().unwrap_or(1)
}

/// Returns a version's name of a dtype.
pub(super) fn zarr_type(dtype: DType, version: Version) -> Value {
    if version == Version::V3 {
        return dtype.name().into();
    }
    let kind = match dtype {
        DType::Bool => 'b',
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => 'u',
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => 'i',
        DType::F32 | DType::F64 => 'f',
    };
    let order = if dtype.size_of() == 1 { '|' } else { '<' };
    format!("{order}{kind}{}", dtype.size_of()).into()
}
