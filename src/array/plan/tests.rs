//! What plans say, and what they refuse.

use super::*;
use crate::array::random;

fn cluster(allowance: u64, workers: usize) -> Cluster {
    Cluster::builder().allowance(ByteSize(allowance)).workers(workers).build().expect("sound settings")
}

#[test]
fn neither_the_allowance_nor_the_workers_have_a_say_in_the_grid() {
    let array = random::uniform(1_000_000, 100, 1, None);
    for working in [Working::default(), Working::from(1 << 20), Working { fixed: 5 << 20, per_row: 80, kept: 1 << 20 }]
    {
        let plan = |allowance: u64, workers| array.plan_for(&cluster(allowance, workers), "test", working);
        let roomy = plan(1 << 30, 2).expect("plenty");
        let enough = roomy.projected_bytes;
        for (allowance, workers) in [(enough, 1), (enough + 1, 5), (16 << 20, 2), (256 << 20, 3)] {
            assert_eq!(plan(allowance, workers).expect("it fits").grid, roomy.grid);
        }
        let Err(Error::TooBig { need, .. }) = plan(enough - 1, 2) else { panic!("a byte less than it takes") };
        assert_eq!(need, enough);
    }
    let turned = array.transpose();
    let plan = turned.plan(&cluster(64 << 20, 2)).expect("fits");
    assert_eq!((plan.block_rows, plan.grid.rows.n_runs()), (100, 1), "a transposed array is cut along its columns");
    let error = turned.plan(&cluster(1 << 20, 2)).expect_err("2 MiB, and turned").to_string();
    let remedy = error.split("such as rechunk(100, ").nth(1).and_then(|rest| rest.split(')').next());
    let cols: u64 = remedy.and_then(|cols| cols.parse().ok()).unwrap_or_else(|| panic!("{error}"));
    assert!(turned.rechunk(100, cols).plan(&cluster(1 << 20, 2)).is_ok(), "{error}");
}

#[test]
fn what_cannot_fit_is_refused_with_both_numbers() {
    let row = random::uniform(10, 1 << 20, 1, None);
    let cut = row.plan(&cluster(2 << 20, 2)).expect("a row of 8 MiB is cut where nobody asks for whole ones");
    assert!(cut.block_rows == 1 && cut.block_cols < 1 << 18 && cut.grid.n_blocks() == cut.tasks, "{cut}");
    let error = row.whole_rows().plan(&cluster(1 << 20, 2)).expect_err("a row takes 8 MiB");
    assert!(
        matches!(error, Error::TooBig { need, allowance, .. } if (need, allowance) == (8 << 20, 1 << 20)),
        "{error}"
    );
    let given = random::uniform(1000, 1000, 1, 1000).plan(&cluster(1 << 20, 2)).expect_err("8 MB, as asked");
    assert!(given.to_string().contains("7.6 MiB") && given.to_string().contains("1.0 MiB"), "{given}");
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
