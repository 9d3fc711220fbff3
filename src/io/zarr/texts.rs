//! Texts as Zarr stores them: of any length, as code points, as bytes.
//!
//! Bytes that are no UTF-8 become the replacement character: a name that somebody spoiled is still a name.

/// Reads what numcodecs calls VLenUTF8: how many texts, then for each its length and its bytes, all lengths in four bytes.
pub(super) fn of_any_length(bytes: &[u8], expected: usize) -> Result<Vec<String>, String> {
    let cut = || "texts that are cut short".to_string();
    let (head, mut rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    let count = u32::from_le_bytes(*head) as usize;
    // Each text takes four bytes at least, so that this also bounds what is allocated.
    if count != expected || rest.len() / 4 < count {
        return Err(format!("{count} texts instead of {expected}"));
    }
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let (head, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*head) as usize).ok_or_else(cut)?;
        texts.push(String::from_utf8_lossy(text).into_owned());
        rest = after;
    }
    Ok(texts)
}

/// Writes texts so.
pub(super) fn to_any_length<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = (texts.len() as u32).to_le_bytes().to_vec();
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// Reads texts of code points of four bytes, `size` bytes each, ended by zeros.
pub(super) fn of_code_points(bytes: &[u8], size: usize, count: usize, big_endian: bool) -> Vec<Option<String>> {
    let text = |number: usize| {
        let points = bytes[number * size..(number + 1) * size].chunks_exact(4).map(|point| {
            let point = [point[0], point[1], point[2], point[3]];
            if big_endian { u32::from_be_bytes(point) } else { u32::from_le_bytes(point) }
        });
        let points: Vec<u32> = points.collect();
        let len = points.iter().rposition(|point| *point != 0).map_or(0, |last| last + 1);
        points[..len].iter().map(|point| char::from_u32(*point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    (0..count).map(|number| Some(text(number))).collect()
}

/// Reads texts of bytes, `size` each, ended by zeros.
pub(super) fn of_bytes(bytes: &[u8], size: usize, count: usize) -> Vec<Option<String>> {
    let text = |number: usize| {
        let bytes = &bytes[number * size..(number + 1) * size];
        let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    (0..count).map(|number| Some(text(number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_come_back_and_wrong_counts_are_refused() {
        let bytes = to_any_length(["a", "", "ß→x"].into_iter());
        assert_eq!(of_any_length(&bytes, 3).expect("three texts"), ["a", "", "ß→x"]);
        assert!(of_any_length(&bytes, 2).is_err());
        for cut in 0..bytes.len() {
            assert!(of_any_length(&bytes[..cut], 3).is_err(), "cut at {cut}");
        }
        let claim = u32::MAX.to_le_bytes();
        assert!(of_any_length(&claim, u32::MAX as usize).is_err(), "nothing is allocated for a claim");
    }

    #[test]
    fn fixed_texts_end_at_their_zeros() {
        let bytes: Vec<u8> = [97u32, 0x1f600, 0, 0, 0, 0x110000].iter().flat_map(|p| p.to_be_bytes()).collect();
        let texts = of_code_points(&bytes, 12, 2, true);
        assert_eq!(texts, [Some("a😀".to_string()), Some("\0\0\u{fffd}".to_string())]);
        assert_eq!(of_bytes(b"ab\0\0c\0", 3, 2), [Some("ab".to_string()), Some("\0c".to_string())]);
        assert_eq!(of_bytes(b"", 0, 2), [Some(String::new()), Some(String::new())]);
    }
}
