//! Blosc 1: blocks of shuffled bytes, each compressed by one of several codecs.
//!
//! ```text
//! header, 16 bytes: version, version of the codec, flags, width of a value, then three u32: bytes, bytes of a block,
//!                   bytes stored, header included
//! offsets           an i32 for each block
//! block             one stream, or one for each byte of a value; each an i32 length and the bytes; a stream that is as
//!                   long as what it holds is not compressed
//! ```
//!
//! Flags: 1 bytes shuffled, 2 not compressed at all, 4 bits shuffled, 16 blocks are one stream; the upper three bits name
//! the codec: 0 blosclz, 1 LZ4, 2 snappy (not read here), 3 zlib, 4 zstd. Source: README_HEADER.rst and blosc.c of c-blosc
//! 1.21. What is written here is LZ4 with shuffled bytes in one stream a block.

use super::shuffle::{shuffle, unshuffle_bits_into, unshuffle_into};
use super::{Codec, longer};

const HEADER: usize = 16;
const SHUFFLED: u8 = 1;
const STORED: u8 = 2;
const BITS_SHUFFLED: u8 = 4;
const ONE_STREAM: u8 = 16;
const LZ4: u8 = 1 << 5;

/// Blocks of fewer values than this are one stream.
const FEWEST_SPLIT: usize = 128;
/// Values wider than this are one stream.
const WIDEST_SPLIT: usize = 16;
/// What is written has blocks of this size, which stays in a core's cache.
const BLOCK: usize = 256 << 10;

struct Header {
    flags: u8,
    width: usize,
    len: usize,
    block: usize,
}

impl Header {
    fn read(bytes: &[u8], limit: usize) -> Result<Self, String> {
        let head = bytes.first_chunk::<HEADER>().ok_or("fewer than the 16 bytes of a blosc header")?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (len, block, stored) = (word(4), word(8), word(12));
        if head[0] != 1 && head[0] != 2 {
            return Err(format!("blosc of version {}", head[0]));
        }
        if len > limit {
            return Err(longer(limit));
        }
        if stored > bytes.len() || (block == 0 && len > 0) {
            return Err(format!("{} of {stored} bytes of blosc", bytes.len()));
        }
        Ok(Header { flags: head[2], width: usize::from(head[3]), len, block })
    }

    /// Returns how many streams a block of `len` bytes is made of.
    fn streams(&self, len: usize) -> usize {
        let split = self.flags & ONE_STREAM == 0
            && (1..=WIDEST_SPLIT).contains(&self.width)
            && self.block / self.width >= FEWEST_SPLIT
            && len == self.block;
        if split { self.width } else { 1 }
    }
}

/// Decodes to at most `limit` bytes.
pub(super) fn decode(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let header = Header::read(bytes, limit)?;
    if header.flags & STORED != 0 {
        return bytes.get(HEADER..HEADER + header.len).map(<[u8]>::to_vec).ok_or_else(|| "blosc cut short".into());
    }
    let n_blocks = header.len.div_ceil(header.block.max(1));
    let offsets = bytes.get(HEADER..HEADER.saturating_add(n_blocks.saturating_mul(4))).ok_or("blosc cut short")?;
    let mut out = vec![0; header.len];
    let shuffled = (header.flags & SHUFFLED != 0 && header.width > 1) || header.flags & BITS_SHUFFLED != 0;
    let mut aside = vec![0; if shuffled { header.block.min(header.len) } else { 0 }];
    for (block, offset) in out.chunks_mut(header.block.max(1)).zip(offsets.chunks_exact(4)) {
        let offset = u32::from_le_bytes([offset[0], offset[1], offset[2], offset[3]]) as usize;
        let stored = bytes.get(offset.max(HEADER)..).ok_or("a blosc block that begins after the end")?;
        if !shuffled {
            decode_block(&header, stored, block)?;
            continue;
        }
        let aside = &mut aside[..block.len()];
        decode_block(&header, stored, aside)?;
        if header.flags & SHUFFLED != 0 {
            unshuffle_into(aside, block, header.width);
        } else {
            unshuffle_bits_into(aside, block, header.width);
        }
    }
    Ok(out)
}

fn decode_block(header: &Header, mut stored: &[u8], block: &mut [u8]) -> Result<(), String> {
    let streams = header.streams(block.len());
    if !block.len().is_multiple_of(streams) {
        return Err("a blosc block that is no multiple of its streams".into());
    }
    let each = block.len() / streams;
    for part in block.chunks_mut(each.max(1)) {
        let (head, rest) = stored.split_first_chunk::<4>().ok_or("a blosc block cut short")?;
        let len = u32::from_le_bytes(*head) as usize;
        let stream = rest.get(..len).ok_or("a blosc block cut short")?;
        stored = &rest[len..];
        if len == part.len() {
            part.copy_from_slice(stream);
        } else {
            decode_stream(header.flags >> 5, stream, part)?;
        }
    }
    Ok(())
}

fn decode_stream(codec: u8, stream: &[u8], out: &mut [u8]) -> Result<(), String> {
    let written = match codec {
        0 => lz_of_blosc(stream, out).ok_or("no blosclz stream")?,
        1 => lz4_flex::block::decompress_into(stream, out).map_err(|error| format!("no LZ4 block: {error}"))?,
        3 | 4 => {
            let decoded = if codec == 3 { Codec::Zlib } else { Codec::Zstd }.decode(stream, out.len())?;
            out[..decoded.len()].copy_from_slice(&decoded);
            decoded.len()
        }
        2 => return Err("snappy, which is not read".into()),
        other => return Err(format!("codec {other} of blosc")),
    };
    if written == out.len() { Ok(()) } else { Err(format!("{written} bytes of blosc instead of {}", out.len())) }
}

/// Decodes blosclz, a kin of FastLZ: runs of literals (a byte below 32 says how many less one), and copies from before
/// (three bits of length, thirteen of distance, both extended by further bytes). Returns how many bytes it wrote.
fn lz_of_blosc(stream: &[u8], out: &mut [u8]) -> Option<usize> {
    const FAR: usize = 8191;
    let mut bytes = stream.iter().map(|byte| usize::from(*byte));
    let mut at = 0;
    let mut control = bytes.next()? & 31;
    loop {
        if control < 32 {
            for _ in 0..=control {
                *out.get_mut(at)? = bytes.next()? as u8;
                at += 1;
            }
        } else {
            let mut len = (control >> 5) + 2;
            while len >= 9 {
                let more = bytes.next()?;
                len += more;
                if more < 255 {
                    break;
                }
            }
            let (high, low) = (control & 31, bytes.next()?);
            let distance =
                if high == 31 && low == 255 { (bytes.next()? << 8) + bytes.next()? + FAR } else { (high << 8) + low };
            let from = at.checked_sub(distance + 1)?;
            for place in from..from + len {
                *out.get_mut(at)? = out[place];
                at += 1;
            }
        }
        match bytes.next() {
            Some(next) => control = next,
            None => return Some(at),
        }
    }
}

/// Compresses values of `width` bytes with LZ4 after shuffling their bytes.
///
/// # Panics
/// When there are 2 GiB or more, which the format cannot hold: callers bound their chunks.
pub(crate) fn encode(bytes: &[u8], width: usize) -> Vec<u8> {
    assert!(bytes.len() < (1 << 31) - HEADER, "chunks are bounded far below 2 GiB");
    let width = if (1..256).contains(&width) { width } else { 1 };
    let block = (BLOCK / width * width).min(bytes.len());
    let n_blocks = bytes.len().div_ceil(block.max(1));
    let mut out = vec![0; HEADER + 4 * n_blocks];
    for (number, part) in bytes.chunks(block.max(1)).enumerate() {
        let start = (out.len() as u32).to_le_bytes();
        out[HEADER + 4 * number..HEADER + 4 * number + 4].copy_from_slice(&start);
        let shuffled = shuffle(part, width);
        let packed = lz4_flex::block::compress(&shuffled);
        let stream = if packed.len() < part.len() { &packed } else { &shuffled };
        out.extend_from_slice(&(stream.len() as u32).to_le_bytes());
        out.extend_from_slice(stream);
    }
    let mut flags = SHUFFLED | ONE_STREAM | LZ4;
    if out.len() >= HEADER + bytes.len() {
        flags = STORED | ONE_STREAM | LZ4;
        out.truncate(HEADER);
        out.extend_from_slice(bytes);
    }
    out[..4].copy_from_slice(&[2, 1, flags, width as u8]);
    for (at, value) in [(4, bytes.len()), (8, block), (12, out.len())] {
        out[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    }
    out
}
