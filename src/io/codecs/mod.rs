//! Compressions of bytes that several containers use: deflate, Zstandard, LZ4, blosc.
//!
//! Every decoder is told how long its answer may be and stops there, so that a few bytes that claim to be gigabytes cost
//! nothing: what a stream claims is compared with that limit before memory is taken for it, and what says nothing of its
//! length is read no further. Decoders refuse; they never panic. Besides the answer a decoder holds at most
//! [`scratch_bytes`].
//!
//! Sources: RFC 1950 to 1952 (zlib, deflate, gzip), RFC 8878 (Zstandard), numcodecs' framing of LZ4 (its length in four
//! bytes), and for blosc the pages of [`blosc`].

pub(crate) mod blosc;
mod shuffle;

use std::io::{Read, Write};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// A step from stored bytes to the bytes of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip,
    Zlib,
    Zstd,
    Lz4,
    Blosc,
    /// Bytes of values of this width, sorted by their place in the value.
    Shuffle(usize),
    /// A checksum of four bytes at the end.
    Crc32c,
}

/// The most that deflate, the densest of the usual codecs on real data, can expand.
const DEFLATE_EXPANSION: usize = 1032;

/// What the decoders' own state takes: the window of zstd is not among it, as whole frames are decoded into the answer.
const DECODER_STATE: u64 = 256 << 10;

/// Returns the bytes that decoding holds at most besides the stored bytes and the answer of `decoded` bytes.
pub(crate) fn scratch_bytes(codecs: &[Codec], decoded: u64) -> u64 {
    match codecs {
        [] => 0,
        // A blosc block that is unshuffled may be as long as the whole.
        [Codec::Blosc] => decoded.saturating_add(DECODER_STATE),
        [_] => DECODER_STATE,
        // Between two steps stands what may be as long as the answer.
        _ => decoded.saturating_mul(2).saturating_add(decoded / 8).saturating_add(DECODER_STATE),
    }
}

impl Codec {
    /// Decodes to at most `limit` bytes; the error says what is wrong with them.
    pub(crate) fn decode(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        match self {
            Codec::Gzip => inflate(MultiGzDecoder::new(bytes), bytes.len(), limit),
            Codec::Zlib => inflate(ZlibDecoder::new(bytes), bytes.len(), limit),
            Codec::Zstd => unzstd(bytes, limit),
            Codec::Lz4 => unlz4(bytes, limit),
            Codec::Blosc => blosc::decode(bytes, limit),
            Codec::Shuffle(width) => Ok(shuffle::unshuffle(bytes, width)),
            Codec::Crc32c => checked(bytes),
        }
    }
}

/// Decodes raw deflate to exactly `len` bytes.
pub(crate) fn inflate_raw(bytes: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let out = inflate(flate2::read::DeflateDecoder::new(bytes), bytes.len(), len)?;
    if out.len() == len { Ok(out) } else { Err(format!("{} bytes instead of {len}", out.len())) }
}

fn inflate(decoder: impl Read, stored: usize, limit: usize) -> Result<Vec<u8>, String> {
    let most = limit.min(stored.saturating_mul(DEFLATE_EXPANSION));
    let mut out = Vec::with_capacity(most.saturating_add(1));
    let read = decoder.take(most as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| format!("no deflate stream: {error}"))?;
    within(out, limit)
}

/// Decodes one frame, or several, of Zstandard.
fn unzstd(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    match zstd::zstd_safe::get_frame_content_size(bytes) {
        Err(_) => Err("no zstd frame".into()),
        Ok(Some(claimed)) if claimed > limit as u64 => Err(longer(limit)),
        Ok(claimed) => {
            // Frames may follow each other, so what the first one claims is not always all.
            let whole = claimed.filter(|_| one_frame(bytes)).map(|len| len as usize);
            zstd::bulk::decompress(bytes, whole.unwrap_or(limit)).map_err(|error| format!("no zstd frame: {error}"))
        }
    }
}

fn one_frame(bytes: &[u8]) -> bool {
    zstd::zstd_safe::find_frame_compressed_size(bytes).is_ok_and(|len| len == bytes.len())
}

/// Decodes what numcodecs calls LZ4: the length in four bytes, then a block.
fn unlz4(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let (head, block) = bytes.split_first_chunk::<4>().ok_or("fewer than four bytes of LZ4")?;
    let len = u32::from_le_bytes(*head) as usize;
    if len > limit {
        return Err(longer(limit));
    }
    let mut out = vec![0; len];
    match lz4_flex::block::decompress_into(block, &mut out) {
        Ok(written) if written == len => Ok(out),
        Ok(written) => Err(format!("{written} bytes of LZ4 instead of {len}")),
        Err(error) => Err(format!("no LZ4 block: {error}")),
    }
}

/// Takes the checksum off and compares it.
fn checked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (data, sum) = bytes.split_last_chunk::<4>().ok_or("fewer than the four bytes of a checksum")?;
    if crc32c::crc32c(data) != u32::from_le_bytes(*sum) {
        return Err("a wrong checksum".into());
    }
    Ok(data.to_vec())
}

fn within(out: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
    if out.len() > limit { Err(longer(limit)) } else { Ok(out) }
}

fn longer(limit: usize) -> String {
    format!("more than the {limit} bytes that belong here")
}

/// Compresses with deflate in gzip's frame, level 0 to 9, without a time, so that equal values give equal bytes.
pub(crate) fn gzip(bytes: &[u8], level: u8) -> std::io::Result<Vec<u8>> {
    let level = flate2::Compression::new(u32::from(level.min(9)));
    let mut encoder = flate2::GzBuilder::new().write(Vec::with_capacity(bytes.len() / 2), level);
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Compresses to a frame of Zstandard that says its length, level 1 to 22.
pub(crate) fn zstd(bytes: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, level.clamp(1, 22))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        (0..50_000u32).flat_map(|i| (i * i % 251).to_le_bytes()).collect()
    }

    #[test]
    fn what_is_compressed_comes_back_and_no_more_than_was_asked_for() {
        let data = sample();
        let lz4 = [(data.len() as u32).to_le_bytes().to_vec(), lz4_flex::block::compress(&data)].concat();
        let crc = [data.clone(), crc32c::crc32c(&data).to_le_bytes().to_vec()].concat();
        let cases = [
            (Codec::Gzip, gzip(&data, 6).expect("in memory")),
            (Codec::Zstd, zstd(&data, 3).expect("in memory")),
            (Codec::Lz4, lz4),
            (Codec::Crc32c, crc),
            (Codec::Blosc, blosc::encode(&data, 4)),
        ];
        for (codec, stored) in cases {
            assert_eq!(codec.decode(&stored, data.len()).expect("sound"), data, "{codec:?}");
            if codec != Codec::Crc32c {
                let error = codec.decode(&stored, data.len() - 1).expect_err("too long");
                assert!(error.contains("more than the 199999 bytes"), "{codec:?}: {error}");
            }
            for cut in (0..stored.len()).step_by(997) {
                let cut = codec.decode(&stored[..cut], data.len());
                assert!(cut.is_err(), "{codec:?}");
            }
        }
    }

    #[test]
    fn frames_of_zstd_may_follow_each_other() {
        let two = [zstd(b"abc", 1).expect("in memory"), zstd(b"def", 1).expect("in memory")].concat();
        assert_eq!(Codec::Zstd.decode(&two, 6).expect("two frames"), b"abcdef");
        assert!(Codec::Zstd.decode(&two, 5).is_err());
    }

    #[test]
    fn a_bomb_is_refused_before_memory_is_taken() {
        let bomb = zstd(&vec![0; 64 << 20], 3).expect("in memory");
        assert!(bomb.len() < 8192 && Codec::Zstd.decode(&bomb, 1000).is_err());
        let bomb = gzip(&vec![0; 64 << 20], 9).expect("in memory");
        assert!(Codec::Gzip.decode(&bomb, 1000).is_err());
        let claim = [u32::MAX.to_le_bytes().to_vec(), vec![0; 8]].concat();
        assert!(Codec::Lz4.decode(&claim, 1000).is_err());
    }
}
