//! Bytes, or bits, of values sorted by their place in the value, so that equal ones stand together.
//!
//! Shuffled bytes: the first bytes of all values, then the second ones, and so on; bytes after the last whole value stay.
//! Shuffled bits (Masui et al. 2015, "A compression scheme for radio data in high performance computing", §2): the same with
//! bits, lowest first; the bits of eight values make a byte. Written for blosc 1, which leaves data alone whose number of
//! values is no multiple of eight.

/// Puts shuffled bytes back in order.
pub(super) fn unshuffle(bytes: &[u8], width: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    unshuffle_into(bytes, &mut out, width);
    out
}

/// Puts shuffled bytes back in order, into a slice of the same length.
pub(super) fn unshuffle_into(bytes: &[u8], out: &mut [u8], width: usize) {
    let count = bytes.len().checked_div(width).unwrap_or(0);
    match width {
        2 => fixed::<2>(bytes, out, count),
        4 => fixed::<4>(bytes, out, count),
        8 => fixed::<8>(bytes, out, count),
        _ => {
            for (place, plane) in bytes.chunks_exact(count.max(1)).take(width).enumerate() {
                plane.iter().enumerate().for_each(|(at, byte)| out[at * width + place] = *byte);
            }
        }
    }
    let whole = count * width;
    out[whole..].copy_from_slice(&bytes[whole..]);
}

/// The same for a width that the compiler knows.
fn fixed<const WIDTH: usize>(bytes: &[u8], out: &mut [u8], count: usize) {
    let planes: [&[u8]; WIDTH] = std::array::from_fn(|place| &bytes[place * count..(place + 1) * count]);
    for (at, value) in out.chunks_exact_mut(WIDTH).take(count).enumerate() {
        for (byte, plane) in value.iter_mut().zip(&planes) {
            *byte = plane[at];
        }
    }
}

/// Shuffles bytes.
pub(super) fn shuffle(bytes: &[u8], width: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let count = bytes.len().checked_div(width).unwrap_or(0);
    for (at, value) in bytes.chunks_exact(width.max(1)).take(count).enumerate() {
        value.iter().enumerate().for_each(|(place, byte)| out[place * count + at] = *byte);
    }
    out
}

/// Puts shuffled bits back in order, into a slice of the same length.
pub(super) fn unshuffle_bits_into(bytes: &[u8], out: &mut [u8], width: usize) {
    let count = bytes.len().checked_div(width).unwrap_or(0);
    let plane = count / 8;
    if plane == 0 || !count.is_multiple_of(8) {
        out.copy_from_slice(bytes);
        return;
    }
    let whole = count * width;
    out[..whole].fill(0);
    out[whole..].copy_from_slice(&bytes[whole..]);
    for (row, bits) in bytes[..whole].chunks_exact(plane).enumerate() {
        let (place, bit) = (row / 8, row % 8);
        for (group, byte) in bits.iter().enumerate() {
            for value in 0..8 {
                out[(group * 8 + value) * width + place] |= (byte >> value & 1) << bit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_and_back_gives_the_same_bytes_at_every_width_and_length() {
        for width in 0..12 {
            for len in 0..70 {
                let data: Vec<u8> = (0..len).map(|i| (i * 37 % 256) as u8).collect();
                assert_eq!(unshuffle(&shuffle(&data, width), width), data, "width {width}, {len} bytes");
            }
        }
        assert_eq!(shuffle(&[1, 2, 3, 4, 5], 2), [1, 3, 2, 4, 5]);
    }

    #[test]
    fn bits_are_sorted_by_their_place_in_the_value() {
        // Eight values of one byte: plane b holds bit b of each value.
        let planes = [0b0000_0001, 0b1000_0000, 0, 0, 0, 0, 0, 0b0000_0010];
        let mut out = [0; 8];
        unshuffle_bits_into(&planes, &mut out, 1);
        assert_eq!(out, [1, 128, 0, 0, 0, 0, 0, 2]);
        let odd = [1u8, 2, 3];
        let mut out = [0; 3];
        unshuffle_bits_into(&odd, &mut out, 1);
        assert_eq!(out, odd, "no multiple of eight values: left alone");
    }
}
