//! Runs every example, each in a process of its own, and compares what it prints.
//!
//! An example is a module of this test and its `main` an ordinary function, so that what runs is what was just built. A test
//! starts itself again with [`CHILD`] set; the child calls the example and ends, the parent reads what it printed.

use std::process::{Command, exit};

macro_rules! examples {
    ($($file:literal $name:ident),+ $(,)?) => {
        $(
            #[path = $file]
            mod $name;
        )+
        const FILES: &[&str] = &[$($file),+];
    };
}

examples! {
    "../examples/01_hello.rs" hello,
    "../examples/02_map_and_gather.rs" map_and_gather,
    "../examples/03_batched_map.rs" batched_map,
    "../examples/04_declared_inputs.rs" declared_inputs,
    "../examples/05_chunked_array.rs" chunked_array,
    "../examples/06_svd_tall_skinny.rs" svd_tall_skinny,
    "../examples/07_pca_of_cells.rs" pca_of_cells,
    "../examples/08_in_an_async_service.rs" in_an_async_service,
    "../examples/09_arrays_like_numpys.rs" arrays_like_numpys,
    "../examples/10_factorisations.rs" factorisations,
}

/// Set in the child that runs the example.
const CHILD: &str = "ALLOTMENT_RUN_EXAMPLE";
/// Stands around what the example prints; the test harness prints before it.
const MARK: &str = "\n---- the example ----\n";

/// Returns what the example prints. Called at the start of a test, because the child comes by the same way.
fn printed<E: std::fmt::Debug>(main: impl FnOnce() -> Result<(), E>) -> String {
    if std::env::var_os(CHILD).is_some() {
        print!("{MARK}");
        main().expect("an example runs");
        print!("{MARK}");
        exit(0);
    }
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread carries its name");
    let this = std::env::current_exe().expect("a running program has a path");
    let mut child = Command::new(this);
    let child = child.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    let output = child.output().expect("this program starts again");
    let text = String::from_utf8(output.stdout).expect("examples print text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    text.split(MARK).nth(1).expect("the child marks what the example prints").to_owned()
}

#[test]
fn hello_prints_an_answer_and_survives_a_panic() {
    let text = printed(hello::main);
    assert_eq!(text, "6 x 7 = 42\nand the cluster goes on after: task \"task\" panicked: no such number\n");
}

#[test]
fn map_and_gather_keeps_every_result_in_its_place() {
    let expected = "\
1000000 futures
the first are [1, 4, 9], the last is 1000000000000
powers are [1024, 81, 1000]
item 0: 100
item 1: task \"map\" item 1 panicked: attempt to divide by zero
item 2: 25
";
    assert_eq!(printed(map_and_gather::main), expected);
}

#[test]
fn batched_map_ends_in_every_way() {
    let expected = "\
sum 50000005000000
1 squared is 1
11 squared is 121
21 squared is 441
the longest word has 5 letters
task \"batched_map\" item 2 panicked: attempt to divide by zero
kept [4, 6, 12]
";
    assert_eq!(printed(batched_map::main), expected);
}

#[test]
fn declared_inputs_meet_at_the_end_of_the_graph() {
    let expected = "\
15 words, the longest is \"stranger\"
task \"missing\" panicked: no such file
";
    assert_eq!(printed(declared_inputs::main), expected);
}

#[test]
fn a_chunked_array_larger_than_the_allowances_is_reduced() {
    let expected = "\
(262144, 8) numbers, 16 MiB
mean 0.333, variance 0.089
kept (262144, 2)
all in [0, 1]: true
Csr with 2 numbers
";
    assert_eq!(printed(chunked_array::main), expected);
}

#[test]
fn the_svd_agrees_with_theory_and_with_itself() {
    let text = printed(svd_tall_skinny::main);
    assert!(text.contains("residuals below 1e-12: true, orthogonal to 1e-12: true"), "{text}");
    assert!(text.ends_with("the same bits on one worker: true\n"), "{text}");
}

#[test]
fn the_first_component_separates_kinds_of_cells() {
    let text = printed(pca_of_cells::main);
    assert!(text.starts_with("700 cells x 765 genes\ncomponent 1: "), "{text}");
}

#[test]
fn an_async_service_answers_refuses_and_cancels() {
    let expected = "\
while it is idle: HTTP/1.1 200 OK 5 steps
while it is full: HTTP/1.1 503 Service Unavailable
after both hung up: HTTP/1.1 200 OK 5 steps
";
    assert_eq!(printed(in_an_async_service::main), expected);
}

#[test]
fn arrays_answer_as_numpys_do() {
    let expected = "\
the variance of a die is about 2.92
four sixes: 87 of 100000 throws
min, max, median: [1.0, 6.0, 4.0]
columns go their own ways
49 tasks of at most 256 KiB
73 bytes stand for (100000, 8)
";
    assert_eq!(printed(arrays_like_numpys::main), expected);
}

#[test]
fn factorisations_say_how_right_they_are() {
    let expected = "\
qr: Q (50000, 16), as good as rounding allows
lstsq: rank 15, the coefficient is about 2.0
svd: 16 values of (16, 50000), as good as rounding allows
svd_compressed: the same to 1e-6
lanczos: 4 passes, as good as rounding allows
pca: 4 components by covariance
scores (50000, 4)
";
    assert_eq!(printed(factorisations::main), expected);
}

#[test]
fn every_example_is_short_and_is_run_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for entry in std::fs::read_dir(folder).expect("the folder of the examples") {
        let path = entry.expect("the folder can be listed").path();
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        assert!(FILES.contains(&format!("../examples/{name}").as_str()), "no test runs {name}");
        let text = std::fs::read_to_string(&path).expect("an example can be read");
        assert!(text.lines().count() < 60, "{name} has {} lines", text.lines().count());
    }
}
