//! Strings of an `.h5ad` file: of fixed length, or references into a heap of the file.
//!
//! Bytes that are not UTF-8 become U+FFFD, the replacement character: names are labels, and one bad label should not
//! hide a matrix. References may all lead to one long string, so that the sum of their lengths is bounded by what a
//! file of this length can hold.

use std::ops::Range;

use hdf5_reader::{Dataset, Datatype, StringPadding, StringSize, VarLenKind};

use super::element::Stored;
use super::file::{File, guarded};
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

/// Reads the strings of a run along the first dimension.
pub(super) fn read_strings(
    file: &File,
    dataset: &Dataset,
    place: &str,
    range: Range<u64>,
) -> Result<Vec<Option<String>>> {
    let mut left = most_text(file);
    let mut strings = Vec::new();
    for start in range.clone().step_by(STEP as usize) {
        for stored in file.read::<Stored>(dataset, place, start..range.end.min(start + STEP))? {
            strings.push(Some(match dataset.dtype() {
                Datatype::String { size: StringSize::Fixed(_), padding, .. } => fixed_string(&stored.0, *padding),
                _ => referenced_string(file, dataset, place, &stored.0, &mut left)?,
            }));
        }
    }
    Ok(strings)
}

/// Returns how many bytes all strings that references lead to may have in sum.
pub(super) fn most_text(file: &File) -> u64 {
    file.input().len().saturating_mul(MOST_SHARING).saturating_add(1 << 20)
}

/// Returns the string that a reference leads to, and takes its length from what is left.
pub(super) fn referenced_string(
    file: &File,
    dataset: &Dataset,
    place: &str,
    reference: &[u8],
    left: &mut u64,
) -> Result<String> {
    let bytes = guarded(file.input(), place, || dataset.resolve_vlen_reference_bytes(reference, 1))?;
    *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
        file.input().bad(place, "no more text than the file can hold", "strings that are longer in sum")
    })?;
    Ok(fixed_string(&bytes, StringPadding::NullPad))
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
