//! The picture's tests: what must be in it, whatever the points are.

use crate::palette::{MISSING, N_CLASSES, OTHER};
use crate::plot::{Coloring, MAX_POINTS, Scatter, draw, drawn_rows, with_commas};

fn scatter(n: usize, coloring: Coloring) -> Scatter {
    Scatter {
        title: "cells.h5ad".into(),
        x_label: "component 1 (60.0 %)".into(),
        y_label: "component 2 (20.0 %)".into(),
        points: (0..n).map(|i| ((i as f64).cos(), (i as f64 * 0.7).sin())).collect(),
        coloring,
        n_all: n as u64,
    }
}

fn classes(n: usize, n_classes: usize) -> Coloring {
    Coloring::Classes {
        title: "cell type".into(),
        classes: (0..n_classes).map(|c| format!("class {c}")).collect(),
        codes: (0..n).map(|i| Some(i % n_classes)).collect(),
    }
}

fn hex(color: plotters::style::RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

fn n_circles(picture: &str) -> usize {
    picture.matches("<circle").count()
}

#[test]
fn every_point_and_every_class_is_in_the_picture() {
    let picture = draw(&scatter(300, classes(300, 9))).expect("memory takes the picture");
    assert_eq!(n_circles(&picture), 300 + 9);
    for text in ["component 1 (60.0 %)", "component 2 (20.0 %)", "cell type", "class 8 (33)", "cells.h5ad"] {
        assert!(picture.contains(text), "{text} is missing");
    }
    assert!(picture.trim_end().ends_with("</svg>"));
}

#[test]
fn missing_points_are_grey_and_counted() {
    let coloring = Coloring::Classes { title: "t".into(), classes: vec!["a".into()], codes: vec![Some(0), None, None] };
    let picture = draw(&scatter(3, coloring)).expect("memory takes the picture");
    assert!(picture.contains("missing (2)"));
    assert_eq!(picture.matches(&hex(MISSING)).count(), 2 + 1);
}

#[test]
fn the_largest_classes_keep_their_colours_when_there_are_too_many() {
    let picture = draw(&scatter(1000, classes(1000, N_CLASSES + 5))).expect("memory takes the picture");
    assert!(picture.contains("6 others"));
    assert!(picture.contains(&hex(OTHER)));
}

#[test]
fn numbers_get_a_ramp_with_their_smallest_and_largest() {
    let values = (0..50).map(|i| if i == 7 { f64::NAN } else { f64::from(i) / 10.0 }).collect();
    let coloring = Coloring::Numbers { title: "n_counts".into(), values };
    let picture = draw(&scatter(50, coloring)).expect("memory takes the picture");
    for text in ["4.9", "missing", "n_counts"] {
        assert!(picture.contains(text), "{text} is missing");
    }
}

#[test]
fn degenerate_points_still_make_a_picture() {
    for points in [vec![], vec![(1.0, 1.0)], vec![(0.0, 0.0); 4], vec![(f64::NAN, 1.0), (2.0, 3.0)]] {
        let n = points.len();
        let picture = draw(&Scatter { points, ..scatter(n, Coloring::Plain) }).expect("memory takes the picture");
        assert!(picture.contains("component 1"));
    }
}

#[test]
fn names_that_look_like_markup_stay_text() {
    let coloring =
        Coloring::Classes { title: "<b>&".into(), classes: vec!["<script>".into()], codes: vec![Some(0); 5] };
    let picture = draw(&scatter(5, coloring)).expect("memory takes the picture");
    assert!(!picture.contains("<script>") && !picture.contains("<b>"));
    assert!(picture.contains("&lt;script&gt;"));
}

#[test]
fn of_many_points_an_even_share_is_drawn_and_said() {
    let rows = drawn_rows(1_000_000);
    assert_eq!(rows.len(), MAX_POINTS);
    assert!(rows.windows(2).all(|pair| pair[1] - pair[0] == 50));
    assert_eq!(drawn_rows(3), [0, 1, 2]);
    assert!(drawn_rows(0).is_empty());
    assert!(drawn_rows(MAX_POINTS as u64 + 1).windows(2).all(|pair| pair[0] < pair[1]));
    let picture = draw(&Scatter { n_all: 1_000_000, ..scatter(500, Coloring::Plain) }).expect("memory takes it");
    assert!(picture.contains("500 of 1,000,000"));
}

#[test]
fn counts_have_commas() {
    let shown = [0, 7, 999, 1000, 1_306_127].map(with_commas);
    assert_eq!(shown, ["0", "7", "999", "1,000", "1,306,127"]);
}
