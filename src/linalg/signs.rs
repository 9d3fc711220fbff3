//! One rule for signs: in each component the entry of largest magnitude is positive; of equals, the first counts.
//!
//! A singular vector or eigenvector is defined up to its sign. With one rule for all factorisations two runs, two
//! solvers and two chunkings can be compared number by number.

use nalgebra::DMatrix;

/// Returns, for each row, −1 where the rule asks for the row to be negated, else 1.
pub(crate) fn of_rows(components: &DMatrix<f64>) -> Vec<f64> {
    components.row_iter().map(|row| sign_of(row.iter().copied())).collect()
}

/// Negates the rows that the rule asks for and returns what each was multiplied by.
pub(crate) fn fix_rows(components: &mut DMatrix<f64>) -> Vec<f64> {
    let signs = of_rows(components);
    for (mut row, &sign) in components.row_iter_mut().zip(&signs) {
        row *= sign;
    }
    signs
}

fn sign_of(values: impl Iterator<Item = f64>) -> f64 {
    // Strictly greater keeps the first of equals.
    let largest = values.fold(0.0f64, |best, x| if x.abs() > best.abs() { x } else { best });
    if largest < 0.0 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_largest_magnitude_becomes_positive_and_the_first_of_equals_decides() {
        let mut rows = DMatrix::from_row_slice(4, 3, &[1.0, -3.0, 2.0, -2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.5, 4.0, -1.0]);
        assert_eq!(fix_rows(&mut rows), vec![-1.0, -1.0, 1.0, 1.0]);
        let expected = [-1.0, 3.0, -2.0, 2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.5, 4.0, -1.0];
        assert_eq!(rows, DMatrix::from_row_slice(4, 3, &expected));
    }
}
