//! What plans say, and what they refuse.

use super::*;
use crate::array::random;

fn cluster(allowance: u64, workers: usize) -> Cluster {
    Cluster::builder().allowance(ByteSize(allowance)).workers(workers).build().expect("sound settings")
}

#[test]
fn blocks_shrink_with_the_allowance_and_not_with_the_workers() {
    let array = random::uniform(1_000_000, 100, 1, None);
    let mut last = u64::MAX;
    for allowance in [256 << 20, 16 << 20, 4 << 20, 1 << 20, 64 << 10] {
        let plans = [1, 2, 5].map(|workers| array.plan(&cluster(allowance, workers)).expect("a row fits"));
        assert!(plans.iter().all(|plan| plan.grid == plans[0].grid && plan.projected_bytes <= allowance));
        assert!(plans[0].block_rows <= last);
        last = plans[0].block_rows;
    }
    assert!(last >= 40, "half the rows that would fit, or more: {last}");
}

#[test]
fn what_cannot_fit_is_refused_with_both_numbers() {
    let row = random::uniform(10, 1 << 20, 1, None);
    let cut = row.plan(&cluster(1 << 20, 2)).expect("a row is cut where nobody asks for whole ones");
    assert!(cut.block_rows == 1 && cut.block_cols < 1 << 17 && cut.grid.n_blocks() == cut.tasks, "{cut}");
    let error = row.whole_rows().plan(&cluster(1 << 20, 2)).expect_err("a row takes 8 MiB");
    assert!(
        matches!(error, Error::TooBig { need, allowance, .. } if (need, allowance) == (8 << 20, 1 << 20)),
        "{error}"
    );
    let given = random::uniform(1000, 1000, 1, 1000).plan(&cluster(1 << 20, 2)).expect_err("8 MB, as asked");
    assert!(given.to_string().contains("7.6 MiB") && given.to_string().contains("1.0 MiB"), "{given}");
}

#[test]
fn the_allowance_has_no_say_where_a_block_fits_it() {
    let (array, working) = (random::uniform(1_000_000, 100, 1, None), Working::from(1 << 20));
    let grid = |allowance: u64| array.plan_for(&cluster(allowance, 2), "test", working).expect("fits").grid;
    assert!([16 << 20, 64 << 20, 1 << 30].into_iter().all(|allowance| grid(allowance) == grid(8 << 20)));
    let turned = array.transpose();
    let plan = turned.plan(&cluster(64 << 20, 2)).expect("fits");
    assert_eq!((plan.block_rows, plan.grid.rows.n_runs()), (100, 1), "a transposed array is cut along its columns");
}

#[test]
fn shared_parts_that_double_at_every_step_are_refused_before_they_run_for_ever() {
    let mut array = random::uniform(2, 2, 1, None);
    for _ in 0..70 {
        array = array.dot(&array).expect("square");
    }
    let error = array.plan(&cluster(1 << 20, 1)).expect_err("2^70 visits");
    assert!(error.to_string().contains("persist"), "{error}");
}

#[test]
fn small_data_is_not_cut_to_pieces_and_large_data_is_cut_for_many_lanes() {
    let tasks = |rows| random::uniform(rows, 100, 1, None).plan(&cluster(1 << 30, 2)).expect("fits").tasks;
    assert_eq!((tasks(0), tasks(1), tasks(300)), (0, 1, 1));
    assert!(tasks(100_000) >= 64, "80 MB");
}

#[test]
fn the_callers_bytes_count_as_a_share_and_for_each_row() {
    let array = random::uniform(1000, 10, 1, 100);
    let plan = |working: Working| array.plan_for(&cluster(1 << 20, 2), "reduce", working).map(|p| p.projected_bytes);
    assert_eq!(plan(Working::default()).ok(), Some(8_000));
    assert_eq!(plan(Working { fixed: 1, per_row: 10, kept: 1 }).ok(), Some(9_001));
    assert!(matches!(plan(Working::from(1 << 20)), Err(Error::TooBig { .. })));
}

#[test]
fn a_chain_is_one_task_and_in_place_kernels_add_nothing() {
    let array = random::uniform(100, 10, 1, 10);
    let chain = array.scale(2.0).log1p().sqrt();
    let plan = chain.plan(&cluster(1 << 20, 2)).expect("small");
    assert_eq!((plan.tasks, plan.projected_bytes), (10, 800));
    assert_eq!(plan.steps.join(" "), "random scale log1p sqrt");
    let single = chain.astype(crate::array::DType::F32).plan(&cluster(1 << 20, 2)).expect("small");
    assert_eq!(single.projected_bytes, 1200, "both are there while one becomes the other");
}

#[test]
fn a_refusal_names_what_fits() {
    let given = random::uniform(1000, 1000, 1, 1000);
    let error = given.plan(&cluster(1 << 20, 2)).expect_err("8 MB, as asked").to_string();
    assert!(
        error.ends_with("use smaller blocks, such as with_block_rows(131), or an allowance of at least 7.7 MiB"),
        "{error}"
    );
    assert!(given.clone().with_block_rows(131).plan(&cluster(1 << 20, 2)).is_ok());
    let enough: ByteSize = "7.7 MiB".parse().expect("a size");
    assert!(given.plan(&cluster(enough.0, 2)).is_ok(), "what is printed is enough");
    let tiles = random::uniform(1000, 1000, 1, None).rechunk(1000, 500);
    let error = tiles.plan(&cluster(1 << 20, 2)).expect_err("4 MB, as asked").to_string();
    assert!(
        error.contains("rechunk(262, 500)") && tiles.rechunk(262, 500).plan(&cluster(1 << 20, 2)).is_ok(),
        "{error}"
    );
    let wide = random::uniform(10, 1 << 20, 1, None).whole_rows();
    let error = wide.plan(&cluster(1 << 20, 2)).expect_err("8 MiB a row").to_string();
    assert!(
        error.ends_with("cut the rows, such as rechunk(1, 131072), or use an allowance of at least 8.0 MiB"),
        "{error}"
    );
    assert!(wide.rechunk(1, 131_072).plan(&cluster(1 << 20, 2)).is_ok());
    let error = given.plan_for(&cluster(1 << 20, 2), "large", 2 << 20).expect_err("2 MiB beside any block").to_string();
    assert!(error.ends_with("no block fits: use an allowance of at least 2.1 MiB"), "{error}");
}
