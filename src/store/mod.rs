//! Bytes on disk, seen as memory. (Interface sketch; the store branch replaces this file.)
use crate::error::Result;
use std::sync::Arc;

/// A worker's chunk files.
#[derive(Clone, Debug, Default)]
pub struct Store {}

impl Store {
    /// Writes the parts as one sealed chunk; each part starts at a multiple of 64 bytes.
    pub fn write(&self, parts: &[&[u8]]) -> Result<Chunk> {
        Ok(Chunk { parts: Arc::new(parts.iter().map(|p| AlignedCopy::new(p)).collect()) })
    }
}

/// A sealed run of bytes. Cloning shares it; the last clone gives the space back.
#[derive(Clone, Debug)]
pub struct Chunk {
    parts: Arc<Vec<AlignedCopy>>,
}

impl Chunk {
    /// Returns how many bytes all parts hold.
    pub fn nbytes(&self) -> u64 {
        self.parts.iter().map(|p| p.len as u64).sum()
    }
    /// Maps the chunk (verifying checksums when it comes back cold).
    pub fn bytes(&self) -> Result<ChunkBytes> {
        Ok(ChunkBytes { chunk: self.clone() })
    }
}

/// The mapped bytes of a chunk, as long as this lives.
#[derive(Clone, Debug)]
pub struct ChunkBytes {
    chunk: Chunk,
}

impl ChunkBytes {
    /// Returns one part, aligned to 64 bytes.
    pub fn part(&self, index: usize) -> &[u8] {
        let part = &self.chunk.parts[index];
        &bytemuck::cast_slice(&part.words)[..part.len]
    }
    /// Returns an error when a page vanished (SIGBUS) while it was read: results computed from it are void.
    pub fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct AlignedCopy {
    words: Vec<u64>,
    len: usize,
}

impl AlignedCopy {
    fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        AlignedCopy { words, len: bytes.len() }
    }
}
