//! The head of a MatrixMarket file: what kind of matrix follows, and how large it is.
//!
//! ```text
//! %%MatrixMarket matrix coordinate integer general     banner
//! % a comment
//! 13714 2700 2282976                                   rows, columns and, of a sparse matrix, entries
//! ```

use super::super::input::Input;
use super::lines::{Lines, most_text, shown};
use crate::error::Result;

/// What stands in the banner and in the line of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) rows: u64,
    pub(super) cols: u64,
    /// Lines that follow: entries of a sparse matrix, values of a dense one.
    pub(super) lines: u64,
    pub(super) is_dense: bool,
    pub(super) field: Field,
    pub(super) symmetry: Symmetry,
}

/// What the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Real,
    Integer,
    /// None: every entry is 1.
    Pattern,
}

/// Which entries are not written because others tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symmetry {
    General,
    Symmetric,
    Skew,
}

/// Reads the head, and checks that the file can hold what it claims.
pub(super) fn read(input: &Input, lines: &mut Lines) -> Result<Header> {
    let banner = lines.next()?.unwrap_or_default().to_ascii_lowercase();
    let banner = String::from_utf8_lossy(&banner).into_owned();
    let words: Vec<&str> = banner.split_ascii_whitespace().collect();
    let ["%%matrixmarket", "matrix", format, field, symmetry] = words[..] else {
        let expected = "'%%MatrixMarket matrix FORMAT FIELD SYMMETRY'";
        return Err(lines.bad(expected, &shown(banner.as_bytes())));
    };
    let unsupported = |what: &str| {
        input.unsupported(format!("a {what} MatrixMarket matrix"), "store its real part and its imaginary part apart")
    };
    let is_dense = match format {
        "coordinate" => false,
        "array" => true,
        _ => return Err(lines.bad("the format coordinate or array", &shown(format.as_bytes()))),
    };
    let field = match field {
        "real" | "double" => Field::Real,
        "integer" | "unsigned-integer" => Field::Integer,
        "pattern" if !is_dense => Field::Pattern,
        "complex" => return Err(unsupported("complex")),
        _ => return Err(lines.bad("the field real, integer or pattern", &shown(field.as_bytes()))),
    };
    let symmetry = match symmetry {
        "general" => Symmetry::General,
        "symmetric" => Symmetry::Symmetric,
        "skew-symmetric" => Symmetry::Skew,
        "hermitian" => return Err(unsupported("hermitian")),
        _ => return Err(lines.bad("the symmetry general, symmetric or skew-symmetric", &shown(symmetry.as_bytes()))),
    };
    let (rows, cols, stated) = sizes(lines, is_dense)?;
    let header = Header { rows, cols, lines: stated, is_dense, field, symmetry };
    check(input, lines, header)
}

/// Reads the line of sizes, after comments and empty lines.
fn sizes(lines: &mut Lines, is_dense: bool) -> Result<(u64, u64, u64)> {
    let line = loop {
        match lines.next()? {
            Some(line) if line.first() == Some(&b'%') || line.iter().all(u8::is_ascii_whitespace) => continue,
            Some(line) => break line.to_vec(),
            None => return Err(lines.bad("the line of sizes", "the end of the file")),
        }
    };
    let text = String::from_utf8_lossy(&line);
    let numbers: Option<Vec<u64>> = text.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[rows, cols]) if is_dense => Ok((rows, cols, u64::MAX)),
        Some(&[rows, cols, entries]) if !is_dense => Ok((rows, cols, entries)),
        _ => {
            let expected = if is_dense { "two sizes: rows, columns" } else { "three sizes: rows, columns, entries" };
            Err(lines.bad(expected, &shown(&line)))
        }
    }
}

/// Compares the sizes with what the file can hold, and completes them.
fn check(input: &Input, lines: &Lines, mut header: Header) -> Result<Header> {
    let (rows, cols) = (header.rows, header.cols);
    if header.symmetry != Symmetry::General && rows != cols {
        return Err(lines.bad("as many rows as columns in a symmetric matrix", &format!("{rows} x {cols}")));
    }
    let all = rows.checked_mul(cols);
    if header.is_dense {
        let triangle = |with_diagonal: u64| rows.checked_add(with_diagonal)?.checked_mul(rows).map(|n| n / 2);
        header.lines = match header.symmetry {
            Symmetry::General => all,
            Symmetry::Symmetric => triangle(1),
            Symmetry::Skew => rows.checked_mul(rows.saturating_sub(1)).map(|n| n / 2),
        }
        .unwrap_or(u64::MAX);
    }
    let most = most_text(input)?;
    // The shortest entry is "1 1" with a line end; the shortest value has one digit. Rows without entries cost 16 bytes each.
    let shortest = if header.is_dense { 2 } else { 4 };
    let too_many = header.lines.saturating_sub(1).saturating_mul(shortest) > most;
    if too_many || rows.max(cols) > most.max(1 << 24) || cols.max(rows) > u64::from(u32::MAX) {
        let expected = format!("sizes that {} bytes of file can hold", input.len());
        return Err(lines.bad(&expected, &format!("{rows} x {cols} with {} lines", header.lines)));
    }
    if !header.is_dense && all.is_some_and(|all| header.lines > all.saturating_mul(64)) {
        return Err(lines.bad("no more entries than places", &format!("{} in {rows} x {cols}", header.lines)));
    }
    Ok(header)
}
