//! Strings of an `.h5ad` file: of fixed length, or references into a heap of the file.
//!
//! Bytes that are not UTF-8 become U+FFFD, the replacement character: names are labels, and one bad label should not
//! hide a matrix. References may all lead to one long string, so that the sum of their lengths is bounded by what a
//! file of this length can hold.

use std::ops::Range;

use hdf5_reader::{Dataset, Datatype, StringPadding, StringSize, VarLenKind};

use super::element::Stored;
use super::file::{File, guarded, type_name};
use crate::error::Result;

/// How many strings are read at a time.
const STEP: u64 = 1 << 14;

/// No writer shares heap strings more than this often on average.
const MOST_SHARING: u64 = 8;

/// Returns whether the values of this type are strings.
pub(super) fn is_string(datatype: &Datatype) -> bool {
    match datatype {
        Datatype::String { .. } => true,
        Datatype::VarLen { base, kind: VarLenKind::String, .. } => base.is_vlen_string_base(),
        _ => false,
    }
}

/// Reads all strings of a vector.
pub(super) fn read_strings(file: &File, dataset: &Dataset, place: &str) -> Result<Vec<String>> {
    if !is_string(dataset.dtype()) || dataset.ndim() != 1 {
        let found = format!("{} of shape {:?}", type_name(dataset.dtype()), dataset.shape());
        return Err(file.input().bad(place, "a vector of strings", found));
    }
    let len = dataset.shape()[0];
    let mut left = file.input().len().saturating_mul(MOST_SHARING).saturating_add(1 << 20);
    let mut strings = Vec::new();
    for start in (0..len).step_by(STEP as usize) {
        read_run(file, dataset, place, start..len.min(start + STEP), &mut left, &mut strings)?;
    }
    Ok(strings)
}

fn read_run(
    file: &File,
    dataset: &Dataset,
    place: &str,
    range: Range<u64>,
    left: &mut u64,
    strings: &mut Vec<String>,
) -> Result<()> {
    for stored in file.read::<Stored>(dataset, place, range)? {
        if let Datatype::String { size: StringSize::Fixed(_), padding, .. } = dataset.dtype() {
            strings.push(fixed_string(&stored.0, *padding));
            continue;
        }
        let at = || format!("{place}[{}]", strings.len());
        let bytes = guarded(file.input(), place, || dataset.resolve_vlen_reference_bytes(&stored.0, 1))?;
        *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            file.input().bad(at(), "no more text than the file can hold", "strings that are longer in sum")
        })?;
        strings.push(fixed_string(&bytes, StringPadding::NullPad));
    }
    Ok(())
}

/// Returns the string that a padded field holds.
pub(super) fn fixed_string(bytes: &[u8], padding: StringPadding) -> String {
    let end = match padding {
        StringPadding::NullTerminate => bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len()),
        StringPadding::NullPad => bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1),
        StringPadding::SpacePad => bytes.iter().rposition(|&b| b != b' ').map_or(0, |last| last + 1),
    };
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_removed_and_other_bytes_are_replaced() {
        use StringPadding::{NullPad, NullTerminate, SpacePad};
        assert_eq!(fixed_string(b"CD3\0\0", NullPad), "CD3");
        assert_eq!(fixed_string(b"C\0D\0", NullPad), "C\0D");
        assert_eq!(fixed_string(b"C\0D\0", NullTerminate), "C");
        assert_eq!(fixed_string(b" C  ", SpacePad), " C");
        assert_eq!(fixed_string(b"\0\0", NullPad), "");
        assert_eq!(fixed_string(b"C\xffD", NullPad), "C\u{fffd}D");
    }
}
