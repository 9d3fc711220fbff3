//! From lines of text in any order to rows that can be read by position: a nameless file beside the chunks.
//!
//! ```text
//! pass 1   check every line, count the entries of each row        ->  where each row's entries go
//! pass 2   batches of entries, sorted by row, to their places     ->  | columns, 4 bytes each | values, 8 bytes each |
//! ```
//! The text is read twice and then never again, however often blocks are asked for. In memory are a batch (16 MiB) and
//! two offsets a row, while the file is opened, and one offset a row after that. Files of 10x Genomics name their entries
//! cell by cell, so that staging cells as rows writes one run after the other.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::input::Input;
use super::header::{self, Field, Header, Symmetry};
use super::lines::{Lines, shown};
use crate::error::{Error, Result};
use crate::store::scratch_file;

/// How many entries are sorted at a time.
const BATCH: usize = 1 << 20;

/// The entries of a file, by rows, in a file of their own.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) rows: u64,
    pub(super) cols: u64,
    pub(super) values: Kind,
    /// Of a sparse matrix, where each row's entries start, and where the last ones end; of a dense one, nothing.
    pub(super) indptr: Option<Vec<u64>>,
    pub(super) file: File,
}

/// What is stored in the 8 bytes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Real,
    /// All of them fit 32 bits.
    Int32,
    Int64,
}

/// An entry as the file states it, places from 0.
#[derive(Clone, Copy, Debug)]
struct Entry {
    row: u32,
    col: u32,
    bits: u64,
}

/// Stages the matrix, with rows and columns exchanged where that is asked for.
pub(super) fn stage(input: &Input, transpose: bool) -> Result<Staged> {
    let mut lines = Lines::open(input)?;
    let header = header::read(input, &mut lines)?;
    let (rows, cols) = if transpose { (header.cols, header.rows) } else { (header.rows, header.cols) };
    let file = scratch_file()?;
    let mut wide = false;
    let mut indptr = None;
    let mut note = |entry: &Entry| wide |= i32::try_from(entry.bits as i64).is_err();
    if header.is_dense {
        // Zeros that symmetry implies are never written: a diagonal's last one would be missing at the end.
        file.set_len(rows * cols * 8)
            .map_err(|source| Error::io("write", "a scratch file beside the chunks", source))?;
        let place = |entry: &Entry| (u64::from(entry.row) * cols + u64::from(entry.col)) * 8;
        let mut batch = Vec::new();
        read_entries(&mut lines, &header, transpose, |entry| {
            note(&entry);
            batch.push(entry);
            if batch.len() == BATCH { fill(&mut batch, |run| write_values(&file, run, place(&run[0]))) } else { Ok(()) }
        })?;
        fill(&mut batch, |run| write_values(&file, run, place(&run[0])))?;
    } else {
        let mut starts = vec![0u64; rows as usize + 1];
        read_entries(&mut lines, &header, transpose, |entry| {
            note(&entry);
            starts[entry.row as usize + 1] += 1;
            Ok(())
        })?;
        for row in 0..rows as usize {
            starts[row + 1] += starts[row];
        }
        scatter(input, &header, transpose, &starts, &file)?;
        indptr = Some(starts);
    }
    input.check_unchanged()?;
    let values = match (header.field, wide) {
        (Field::Integer, true) => Kind::Int64,
        (Field::Integer, false) => Kind::Int32,
        _ => Kind::Real,
    };
    Ok(Staged { rows, cols, values, indptr, file })
}

/// The second pass: every entry to its place.
fn scatter(input: &Input, header: &Header, transpose: bool, starts: &[u64], file: &File) -> Result<()> {
    let mut lines = Lines::open(input)?;
    if header::read(input, &mut lines)? != *header {
        return Err(lines.bad("the sizes that were read before", "others: the file changed while it was read"));
    }
    let values_at = values_offset(starts.last().copied().unwrap_or(0));
    let mut next = starts.to_vec();
    let mut write = |run: &[Entry]| {
        let at = &mut next[run[0].row as usize];
        let columns: Vec<u32> = run.iter().map(|entry| entry.col).collect();
        write_at(file, bytemuck::cast_slice(&columns), *at * 4)?;
        write_values(file, run, values_at + *at * 8)?;
        *at += run.len() as u64;
        Ok(())
    };
    let mut batch = Vec::new();
    read_entries(&mut lines, header, transpose, |entry| {
        batch.push(entry);
        if batch.len() == BATCH { flush(&mut batch, &mut write) } else { Ok(()) }
    })?;
    flush(&mut batch, &mut write)
}

/// Returns where values start in the file of a sparse matrix of so many entries.
pub(super) fn values_offset(entries: u64) -> u64 {
    (entries * 4).next_multiple_of(8)
}

/// Hands the values of a dense matrix over in runs that lie side by side.
fn fill(batch: &mut Vec<Entry>, mut write: impl FnMut(&[Entry]) -> Result<()>) -> Result<()> {
    batch.sort_unstable_by_key(|entry| (entry.row, entry.col));
    for run in batch.chunk_by(|a, b| a.row == b.row && a.col + 1 == b.col) {
        write(run)?;
    }
    batch.clear();
    Ok(())
}

/// Hands the entries of a sparse matrix over in runs of one row each.
fn flush(batch: &mut Vec<Entry>, mut write: impl FnMut(&[Entry]) -> Result<()>) -> Result<()> {
    // Stable: entries at one place are added in the order of the file.
    batch.sort_by_key(|entry| entry.row);
    for run in batch.chunk_by(|a, b| a.row == b.row) {
        write(run)?;
    }
    batch.clear();
    Ok(())
}

fn write_values(file: &File, run: &[Entry], at: u64) -> Result<()> {
    let bits: Vec<u64> = run.iter().map(|entry| entry.bits).collect();
    write_at(file, bytemuck::cast_slice(&bits), at)
}

fn write_at(file: &File, bytes: &[u8], at: u64) -> Result<()> {
    file.write_all_at(bytes, at).map_err(|source| Error::io("write", "a scratch file beside the chunks", source))
}

/// Reads every entry, and its mirror image where the matrix has symmetry.
fn read_entries(
    lines: &mut Lines,
    header: &Header,
    transpose: bool,
    mut take: impl FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let mut place = (0, 0);
    let mut n = 0;
    while let Some(line) = lines.next()? {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line = line.trim_ascii();
        let read = if n == header.lines { None } else { entry(line, header, &mut place) };
        let Some((row, col, bits)) = read else {
            let expected = match n == header.lines {
                true => format!("no more than the {n} entries that the sizes promise"),
                false => expected(header),
            };
            let found = shown(line);
            return Err(lines.bad(&expected, &found));
        };
        n += 1;
        let ordered =
            |row, col, bits| if transpose { Entry { row: col, col: row, bits } } else { Entry { row, col, bits } };
        take(ordered(row, col, bits))?;
        if header.symmetry != Symmetry::General && row != col {
            let bits = if header.symmetry == Symmetry::Skew { negated(bits, header.field) } else { bits };
            take(ordered(col, row, bits))?;
        }
    }
    if n == header.lines {
        return Ok(());
    }
    Err(lines.bad(&format!("{} entries, as the sizes promise", header.lines), &format!("the end after {n}")))
}

fn expected(header: &Header) -> String {
    let value = match header.field {
        Field::Real => "a number",
        Field::Integer => "an integer",
        Field::Pattern => "nothing else",
    };
    if header.is_dense {
        return value.into();
    }
    format!("a row from 1 to {}, a column from 1 to {}, {value}", header.rows, header.cols)
}

/// Reads one entry; `place` is where the next value of a dense matrix belongs.
fn entry(line: &[u8], header: &Header, place: &mut (u32, u32)) -> Option<(u32, u32, u64)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (row, col) = match header.is_dense {
        true => next_place(place, header),
        false => (index(words.next()?, header.rows)?, index(words.next()?, header.cols)?),
    };
    let bits = match header.field {
        Field::Real => real(words.next()?)?.to_bits(),
        Field::Integer => words.next()?.parse::<i64>().ok()? as u64,
        Field::Pattern => 1f64.to_bits(),
    };
    words.next().is_none().then_some((row, col, bits))
}

/// Returns where this value of a dense matrix belongs: they come column after column, of a symmetric one from the
/// diagonal down.
fn next_place(place: &mut (u32, u32), header: &Header) -> (u32, u32) {
    let first = |col: u32| match header.symmetry {
        Symmetry::General => 0,
        Symmetry::Symmetric => col,
        Symmetry::Skew => col + 1,
    };
    let (row, col) = (place.0.max(first(place.1)), place.1);
    *place = if u64::from(row) + 1 < header.rows { (row + 1, col) } else { (0, col + 1) };
    (row, col)
}

fn index(word: &str, len: u64) -> Option<u32> {
    let from_one = word.parse::<u64>().ok()?;
    // The head was checked: lengths fit 32 bits.
    if (1..=len).contains(&from_one) { Some((from_one - 1) as u32) } else { None }
}

/// Reads a number, also one with Fortran's D before the exponent.
fn real(word: &str) -> Option<f64> {
    word.parse().ok().or_else(|| word.replace(['d', 'D'], "e").parse().ok())
}

fn negated(bits: u64, field: Field) -> u64 {
    match field {
        Field::Integer => (bits as i64).wrapping_neg() as u64,
        _ => (-f64::from_bits(bits)).to_bits(),
    }
}
