//! The answer on stdout: a table for people, or one JSON object and nothing else.

use std::io::{ErrorKind, Write};

use allotment::Error;
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// What a command found, in both forms.
pub(crate) trait Report: Serialize {
    /// Returns the lines for people.
    fn text(&self) -> String;
}

/// Prints the report in the form that was asked for.
pub(crate) fn print(report: &impl Report, json: bool) -> Outcome<()> {
    let mut text = if json { to_json(report)? } else { report.text() };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::ReaderGone),
        Err(e) => Err(Error::io("write", "standard output", e).into()),
    }
}

fn to_json(report: &impl Serialize) -> Outcome<String> {
    serde_json::to_string(report).map_err(|e| Error::io("write", "standard output", e.into()).into())
}

/// Sets cells in columns: the first column to the left, the others, which are numbers, to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let n_cols = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |col: usize| rows.iter().filter_map(|row| row.get(col)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..n_cols).map(|col| width(col).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(col, (cell, width))| {
                if col == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Sets names and values in two columns, both to the left.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// Prints seconds with the digits that mean something.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["component", "variance"], ["1", "12.5"], ["2", "3.25"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(String::from).to_vec()).collect();
        assert_eq!(table(&rows), "component  variance\n1              12.5\n2              3.25\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn fields_line_up() {
        assert_eq!(fields(&[("format", "npy".into()), ("nnz", "3".into())]), "format  npy\nnnz     3\n");
    }
}
