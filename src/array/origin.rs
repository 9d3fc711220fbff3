//! What an expression stands on: its files, and how many values its rows store where that is known without computing them.

use super::expr::Expr;
use super::rows::RowSelection;
use super::{Array, BlockKind, Source, SourceAddress};
use crate::error::Result;

impl Array {
    /// Returns the addresses of the files that the values come from.
    pub(crate) fn addresses(&self) -> Vec<SourceAddress> {
        let (mut found, mut next) = (Vec::new(), vec![self]);
        while let Some(array) = next.pop() {
            if let Expr::Source(source) = &*array.expr {
                found.extend(source.address());
            }
            next.extend(array.expr.inputs());
        }
        found
    }

    /// Returns how many values each row of a CSR array stores as the headers have it, or `None` where only computing tells.
    ///
    /// A file whose rows name a column twice stores more than its blocks have, as they hold the sum: who relies on these
    /// numbers compares them with the blocks.
    pub(crate) fn stored_by_row(&self) -> Result<Option<Vec<u64>>> {
        let (mut array, mut selections) = (self, Vec::new());
        let counts = loop {
            if array.kind != BlockKind::Csr {
                return Ok(None);
            }
            match &*array.expr {
                Expr::Kernel(input, _) | Expr::AsType(input) => array = input,
                Expr::SelectRows(input, selection) => {
                    selections.push((selection, array.rows() as usize));
                    array = input;
                }
                Expr::Source(source) if source.counts_are_exact() => break counts(&**source)?,
                Expr::Memory(block) => break (0..array.rows()).map(|row| block.nnz_of_rows(row..row + 1)).collect(),
                Expr::Zeros => break vec![0; array.rows() as usize],
                _ => return Ok(None),
            }
        };
        let choose = |all: Vec<u64>, (selection, n): (&RowSelection, usize)| match selection {
            RowSelection::From(first) => all[*first as usize..][..n].to_vec(),
            RowSelection::List { rows, .. } => rows.iter().map(|row| all[*row as usize]).collect(),
        };
        Ok(Some(selections.into_iter().rev().fold(counts, choose)))
    }
}

fn counts(source: &dyn Source) -> Result<Vec<u64>> {
    (0..source.shape().0).map(|row| source.nnz_of(row..row + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Columns;

    #[test]
    fn stored_values_are_counted_through_what_keeps_them() {
        let dense = Array::from_rows(&[[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]).expect("three rows");
        assert_eq!(dense.stored_by_row().expect("in memory"), None, "dense rows store all");
        let counts = crate::array::CsrBlock::new(3, 3, vec![0, 2, 2, 3], vec![0, 2, 1], vec![1.0, 2.0, 3.0]);
        let csr = Array::from_block(counts.expect("sound"));
        assert_eq!(csr.log1p().scale(2.0).stored_by_row().expect("in memory"), Some(vec![2, 0, 1]));
        let some = csr.select_rows(Columns::from(vec![2, 0])).expect("two rows").log1p();
        assert_eq!(some.stored_by_row().expect("in memory"), Some(vec![1, 2]));
        let tail = csr.select_rows(Columns::from(1..3)).expect("two rows");
        assert_eq!(tail.stored_by_row().expect("in memory"), Some(vec![0, 1]));
        let both = csr.select_columns(Columns::from(vec![2])).expect("one column");
        assert_eq!(both.stored_by_row().expect("in memory"), None, "columns are known by reading only");
    }
}
