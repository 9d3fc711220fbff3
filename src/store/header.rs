//! What stands before a chunk's bytes, and how they are checked.
//!
//! The header names the session and the chunk, so that bytes which once belonged to another chunk, or to another
//! process, are refused although they are whole; a CRC-32 for each MiB of the run refuses all other changes. The
//! checksums stay in memory with the chunk: what can damage the file cannot make them agree.

use crc32fast::Hasher;

/// Parts start at multiples of this.
pub(super) const ALIGN: u64 = 64;
/// Bytes before the first part.
pub(super) const HEADER: u64 = 64;
/// Bytes covered by one checksum.
pub(super) const BLOCK: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"ALLOTCHK";
const VERSION: u32 = 1;
/// Written in the machine's own order: it reads as another number on a machine of the other order.
const ENDIAN: u32 = 0x0102_0304;

/// Names a chunk: whose it is, which it is, how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) session: u64,
    pub(super) chunk: u64,
    pub(super) run_bytes: u64,
}

impl Header {
    /// Returns the header as it stands in the file.
    pub(super) fn to_bytes(self) -> [u8; HEADER as usize] {
        let mut bytes = [0; HEADER as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[12..16].copy_from_slice(&ENDIAN.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.session.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.chunk.to_ne_bytes());
        bytes[32..40].copy_from_slice(&self.run_bytes.to_ne_bytes());
        bytes
    }

    /// Compares the header with what the file holds; `Err` says what was expected and what is there.
    pub(super) fn check(self, found: &[u8]) -> Result<(), (String, String)> {
        let expected = self.to_bytes();
        if found == expected {
            return Ok(());
        }
        let number = |at: usize| found.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes);
        if !found.starts_with(&expected[..16]) {
            return Err(("the header of a chunk".into(), format!("{:02x?}", &found[..found.len().min(16)])));
        }
        let name = |session, chunk, bytes| format!("chunk {chunk} of session {session:016x} with {bytes} bytes");
        Err((name(self.session, self.chunk, self.run_bytes), name(number(16), number(24), number(32))))
    }
}

/// Checksums a stream of bytes, one number for each [`BLOCK`].
#[derive(Debug, Default)]
pub(super) struct Checksums {
    done: Vec<u32>,
    hasher: Hasher,
    in_block: usize,
}

impl Checksums {
    /// Takes the next bytes of the stream.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.in_block));
            self.hasher.update(now);
            self.in_block += now.len();
            if self.in_block == BLOCK {
                self.close_block();
            }
            bytes = later;
        }
    }

    /// Ends the stream and returns its checksums.
    pub(super) fn finish(mut self) -> Box<[u32]> {
        if self.in_block > 0 {
            self.close_block();
        }
        self.done.into()
    }

    fn close_block(&mut self) {
        self.done.push(std::mem::take(&mut self.hasher).finalize());
        self.in_block = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_do_not_depend_on_how_the_stream_was_cut() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|i| ((i * i) >> 7) as u8).collect();
        let whole: Vec<u32> = bytes.chunks(BLOCK).map(crc32fast::hash).collect();
        for cut in [1000, BLOCK - 1, BLOCK, BLOCK + 1, bytes.len()] {
            let mut sums = Checksums::default();
            bytes.chunks(cut).for_each(|piece| sums.update(piece));
            assert_eq!(&sums.finish()[..], &whole[..], "cut {cut}");
        }
        assert!(Checksums::default().finish().is_empty());
    }

    #[test]
    fn another_chunks_header_is_named_in_the_refusal() {
        let mine = Header { session: 1, chunk: 7, run_bytes: 100 };
        assert_eq!(mine.check(&mine.to_bytes()), Ok(()));
        let stale = Header { session: 2, ..mine };
        let (expected, found) = mine.check(&stale.to_bytes()).unwrap_err();
        assert_eq!(expected, "chunk 7 of session 0000000000000001 with 100 bytes");
        assert_eq!(found, "chunk 7 of session 0000000000000002 with 100 bytes");
        assert!(mine.check(&[0; 64]).unwrap_err().0.contains("header"));
        assert!(mine.check(&[]).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_refused() {
        let header = Header { session: 0x0123_4567_89AB_CDEF, chunk: 42, run_bytes: 1 << 33 };
        for bit in 0..HEADER as usize * 8 {
            let mut bytes = header.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(header.check(&bytes).is_err(), "bit {bit}");
        }
    }
}
