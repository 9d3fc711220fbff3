//! Grams and products against naive sums, at every size at which a panel, a strip, a register or a batch of rows ends.

use super::*;

const COLS: [usize; 11] = [0, 1, 2, 7, 8, 9, 23, 24, 25, 100, 257];
const ROWS: [usize; 4] = [0, 1, 5, 300];

/// What the processor has, and all that it could do with less.
fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

/// Small integers, of which any sum is exact, so that every comparison below is for equality.
fn ints(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1009 % 19) as f64 - 9.0).collect()
}

/// Returns `xᵀ y` by columns, added to one.
fn naive(x: &[f64], m: usize, y: &[f64], n: usize, rows: usize) -> Vec<f64> {
    let of = |i: usize, j: usize| (0..rows).map(|r| x[r * m + i] * y[r * n + j]).sum::<f64>();
    (0..m * n).map(|at| 1.0 + of(at % m, at / m)).collect()
}

/// Returns it with ones below the diagonal.
fn naive_gram(x: &[f64], n: usize, rows: usize) -> Vec<f64> {
    let all = naive(x, n, x, n, rows);
    (0..n * n).map(|at| if at % n <= at / n { all[at] } else { 1.0 }).collect()
}

#[test]
fn the_gram_of_dense_rows_is_the_naive_one_at_every_size_that_could_differ() {
    for (cols, rows) in COLS.into_iter().flat_map(|cols| ROWS.map(|rows| (cols, rows))) {
        let (x, expected) = (ints(rows * cols, 1), naive_gram(&ints(rows * cols, 1), cols, rows));
        for arch in archs() {
            let (mut packed, mut acc) = (Packed::on(arch, cols), vec![1.0; cols * cols]);
            packed.add_gram_of(&x, &mut acc);
            packed.finish_gram(&mut acc);
            assert!(acc == expected, "{rows} × {cols}, {arch:?}");
        }
    }
}

#[test]
fn the_gram_of_sparse_rows_is_that_of_the_same_rows_filled_in() {
    for (cols, rows) in COLS.into_iter().flat_map(|cols| ROWS.map(|rows| (cols, rows))) {
        let x: Vec<f64> = ints(rows * cols, 2).into_iter().map(|x| if x > 2.0 { x } else { 0.0 }).collect();
        let expected = naive_gram(&x, cols, rows);
        for arch in archs() {
            let (mut packed, mut acc) = (Packed::on(arch, cols), vec![1.0; cols * cols]);
            for row in x.chunks(cols.max(1)) {
                let stored: Vec<u32> = (0..cols as u32).filter(|&col| row[col as usize] != 0.0).collect();
                let values: Vec<f64> = stored.iter().map(|&col| row[col as usize]).collect();
                packed.add_gram_of_sparse(&stored, &values, &mut acc);
            }
            packed.finish_gram(&mut acc);
            assert!(acc == expected, "{rows} × {cols}, {arch:?}");
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_own_column() {
    let (rows, cols) = (200, 30);
    let mut x = ints(rows * cols, 3);
    x[150 * cols + 25] = f64::NAN;
    x[3 * cols + 4] = f64::INFINITY;
    let (mut packed, mut acc) = (Packed::new(cols), vec![0.0; cols * cols]);
    packed.add_gram_of(&x, &mut acc);
    packed.finish_gram(&mut acc);
    for (i, j) in (0..cols).flat_map(|j| (0..=j).map(move |i| (i, j))) {
        let found = acc[j * cols + i];
        assert_eq!(found.is_finite(), i != 4 && j != 4 && i != 25 && j != 25, "{i}, {j}: {found}");
    }
    assert!(acc[4 * cols + 4] == f64::INFINITY && acc[25 * cols + 25].is_nan());
}

#[test]
fn how_rows_arrive_changes_no_bit() {
    let (rows, cols) = (300, 37);
    let x: Vec<f64> = ints(rows * cols, 4).into_iter().map(|x| (x * 0.1).exp()).collect();
    let gram = |at_once: usize| {
        let (mut packed, mut acc) = (Packed::new(cols), vec![0.0; cols * cols]);
        x.chunks(at_once * cols).for_each(|rows| packed.add_gram_of(rows, &mut acc));
        packed.finish_gram(&mut acc);
        acc
    };
    assert!([7, 128, 129].into_iter().all(|at_once| gram(at_once) == gram(rows)));
}

#[test]
fn one_holds_no_more_than_is_said() {
    for cols in COLS {
        let held = Packed::new(cols).values.capacity() as u64 * 8;
        assert!(held <= Packed::bytes(cols), "{cols} columns: {held} bytes");
    }
}
