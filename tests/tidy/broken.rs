//! Every rule finds what breaks it, and leaves its neighbour alone.

use std::collections::BTreeMap;

use crate::source::Source;
use crate::{FORMATS, LAYERS, rules};

fn source(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

fn points_up(path: &str, text: &str) -> bool {
    let lib =
        source("src/lib.rs", "pub mod io;\npub use error::{Error, Result};\npub use runtime::{Cluster, core::X};\n");
    !rules::imports_point_up(&source(path, text), &LAYERS, &rules::reexports(&lib)).is_empty()
}

#[test]
fn an_import_that_points_up_is_found_however_it_is_written() {
    for (path, text) in [
        ("src/store/mod.rs", "use crate::runtime::Cluster;"),
        ("src/store/chunk.rs", "use crate::{error::Error, array::{Block, DType}};"),
        ("src/store/chunk.rs", "use crate::{\n    error::Error,\n    io,\n};"),
        ("src/store/chunk.rs", "fn f() { crate::io::open() }"),
        ("src/store/chunk.rs", "use super::super::linalg;"),
        ("src/store/chunk.rs", "use crate::Cluster;"),
        ("src/error.rs", "use super::store::Chunk;"),
        ("src/runtime/core/mod.rs", "use crate::dashboard::page;"),
    ] {
        assert!(points_up(path, text), "{path}: {text}");
    }
    assert!(points_up("src/store/mod.rs", "use crate::X;"), "a re-export belongs to the layer it comes from");
}

#[test]
fn an_import_that_points_down_or_stays_is_fine() {
    for (path, text) in [
        ("src/io/npy.rs", "use crate::array::{Block, Source};\nuse crate::error::Result;"),
        ("src/runtime/core/mod.rs", "use super::super::budget;"),
        ("src/runtime/core/mod.rs", "use super::budget; use crate::store::Store;"),
        ("src/store/mod.rs", "// crate::io is above\nlet text = \"crate::io\";"),
        ("src/array/mod.rs", "use crate::{Error, Cluster};"),
        ("src/bytes.rs", "use crate::error::Error;"),
        ("src/lib.rs", "use crate::io;"),
        ("src/store/mod.rs", "use othercrate::io; use $crate::io;"),
    ] {
        assert!(!points_up(path, text), "{path}: {text}");
    }
}

#[test]
fn a_module_without_a_layer_is_found() {
    let lib = source("src/lib.rs", "mod bytes;\npub mod array;\npub(crate) mod misc;\npub mod extra;\n");
    assert_eq!(rules::modules_without_layer(&lib, &LAYERS), ["misc has no layer", "extra has no layer"]);
}

#[test]
fn reexports_are_read_through_braces_and_lines() {
    let lib = source(
        "src/lib.rs",
        "pub use error::{Error,\n    Result};\npub use runtime::core::{a::B, C};\npub use bytes::D;",
    );
    let names = |(name, layer): (&str, &str)| (name.to_owned(), layer.to_owned());
    let expected = [("Error", "error"), ("Result", "error"), ("B", "runtime"), ("C", "runtime"), ("D", "bytes")];
    assert_eq!(rules::reexports(&lib), expected.map(names).into_iter().collect::<BTreeMap<_, _>>());
}

#[test]
fn formats_that_know_each_other_are_found() {
    let knows = |path: &str, text: &str| !rules::knows_another_format(&source(path, text), &FORMATS).is_empty();
    assert!(knows("src/io/npy.rs", "use super::h5ad::open;"));
    assert!(knows("src/io/zarr/codec.rs", "use crate::io::npy::Header;"));
    assert!(!knows("src/io/mod.rs", "h5ad::open()"));
    assert!(!knows("src/io/npy/header.rs", "use super::super::npy::Header;"));
}

#[test]
fn a_missing_page_is_found() {
    assert!(!rules::has_no_page(&source("src/a.rs", "use std::fs;\n//! late")).is_empty());
    assert!(!rules::has_no_page(&source("src/a.rs", "")).is_empty());
    assert!(rules::has_no_page(&source("src/a.rs", "//! What this is.")).is_empty());
}

#[test]
fn long_files_and_functions_are_found() {
    let complaints = |text: &str| rules::too_long(&source("src/a.rs", text), 10, 4);
    assert_eq!(complaints(&"//\n".repeat(10)), Vec::<String>::new());
    assert_eq!(complaints(&"//\n".repeat(11)).len(), 1);
    let long = "fn a<T>(x: T) -> X\nwhere\n    T: Y,\n{\n    b\n}\n";
    assert_eq!(complaints(long), ["1: fn a has 6 lines, at most 4 are allowed"]);
    let tricky = "trait T { fn a(&self);\nfn b(&self);\nfn c();\n}\nfn d() {\n    \"}\";\n}\n";
    assert_eq!(complaints(tricky), Vec::<String>::new());
    assert_eq!(complaints("fn d() {\n\"}\";\n'}';\n// }\n\n}").len(), 1, "braces in literals close nothing");
}

#[test]
fn stray_and_unproven_unsafe_is_found() {
    let complaints = |path: &str, text: &str| rules::stray_unsafe(&source(path, text), &["src/m.rs"]).len();
    assert_eq!(complaints("src/a.rs", "unsafe { f() }"), 1);
    assert_eq!(complaints("src/a.rs", "#![deny(unsafe_code)] // unsafe"), 0);
    assert_eq!(complaints("src/m.rs", "unsafe { f() }"), 1);
    assert_eq!(complaints("src/m.rs", "// SAFETY: f has no conditions.\nunsafe { f() }"), 0);
    assert_eq!(complaints("src/m.rs", "// SAFETY: the page\n// is ours.\nlet x =\n    unsafe { f() };"), 0);
    assert_eq!(complaints("src/m.rs", "// SAFETY: old\nunsafe { f() }\n// why\nunsafe { g() }"), 1);
}

#[test]
fn stray_threads_are_found_outside_tests() {
    let complaints = |text: &str| rules::stray_threads(&source("src/a.rs", text), &["src/lane.rs"]).len();
    for text in ["std::thread::spawn(f);", "thread::Builder::new()", "handle.spawn(f)", "use rayon::prelude;"] {
        assert_eq!(complaints(text), 1, "{text}");
    }
    assert_eq!(complaints("thread::sleep(x); respawn(y)"), 0);
    assert_eq!(complaints("#[cfg(test)]\nmod tests {\n    fn a() { std::thread::spawn(f); }\n}"), 0);
    assert!(rules::stray_threads(&source("src/lane.rs", "thread::spawn(f)"), &["src/lane.rs"]).is_empty());
}

#[test]
fn unfinished_work_and_unwraps_are_found() {
    let unfinished = |text: &str| rules::unfinished(&source("src/a.rs", text)).len();
    assert_eq!(unfinished("todo!()"), 1);
    assert_eq!(unfinished("let x = dbg!(y);"), 1);
    assert_eq!(unfinished(&format!("a(); // {}: later", ["TO", "DO"].concat())), 1);
    assert_eq!(unfinished("let todos = \"todo!\";"), 0);
    let unwraps = |text: &str| rules::unwraps(&source("src/a.rs", text)).len();
    assert_eq!(unwraps("x.unwrap();"), 1);
    assert_eq!(unwraps("x.unwrap_or(1); // .unwrap()"), 0);
    assert_eq!(unwraps("#[cfg(test)]\nmod tests {\n x.unwrap();\n}"), 0);
}

#[test]
fn links_to_files_are_told_from_links_to_places() {
    let text = "[a](README.md) [b](https://x.org) [c](#part) [d](src/lib.rs#L3)";
    assert_eq!(rules::local_links(text), ["README.md", "src/lib.rs"]);
}
