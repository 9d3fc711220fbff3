//! LZF, h5py's fast compression (HDF5 filter 32000).
//!
//! A stream of runs. A first byte below 32 is followed by that many plus one bytes to copy. Else its upper three bits
//! are a length (7: add the next byte to it), its lower five and the next byte a distance back from the end of what
//! was written, less one; length plus two bytes are copied from there, and may overlap what they write.

/// The number under which the HDF5 Group registered the filter.
pub(super) const FILTER_ID: u16 = 32000;

/// Decompresses a chunk to at most `limit` bytes; `None` when it is not LZF or longer than that.
pub(super) fn decompress(data: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    let mut bytes = data.iter();
    while let Some(&control) = bytes.next() {
        let control = usize::from(control);
        if control < 32 {
            let run = bytes.as_slice().get(..=control)?;
            out.extend_from_slice(run);
            bytes.nth(control);
        } else {
            let mut length = control >> 5;
            if length == 7 {
                length += usize::from(*bytes.next()?);
            }
            let distance = ((control & 31) << 8) + usize::from(*bytes.next()?) + 1;
            let start = out.len().checked_sub(distance)?;
            for at in start..start + length + 2 {
                out.push(out[at]);
            }
        }
        if out.len() > limit {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_references_and_overlaps_are_copied() {
        // "abc", then 2 + 2 bytes from 3 back: "abca"; then "x", then 7 + 1 + 2 bytes from 1 back.
        let data = [2, b'a', b'b', b'c', 0x40, 2, 0, b'x', 0xe0, 1, 0];
        assert_eq!(decompress(&data, 100).expect("sound"), b"abcabcaxxxxxxxxxxx");
        assert_eq!(decompress(&[], 0).expect("nothing"), b"");
    }

    #[test]
    fn what_is_cut_points_before_the_start_or_grows_past_the_limit_is_refused() {
        for cut in [&[3u8, 1, 2][..], &[0x40], &[0xe0, 1], &[0, 9, 0x20, 1]] {
            assert_eq!(decompress(cut, 100), None, "{cut:?}");
        }
        let bomb = [&[0u8, 7][..], &[0xe0, 255, 0].repeat(10)].concat();
        assert_eq!(decompress(&bomb, 1000), None);
        assert_eq!(decompress(&bomb, 2641).map(|out| out.len()), Some(2641));
    }
}
