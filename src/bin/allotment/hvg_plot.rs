//! The picture of variable genes: what they were ranked by over their means.

use std::path::Path;

use allotment::cells::HighlyVariable;

use crate::failure::Outcome;
use crate::pca_plot;
use crate::plot::{Coloring, Scatter, drawn_rows};
use crate::session::Session;

/// Draws the picture and writes it: a point for each gene that has both numbers.
pub(crate) fn draw(found: &HighlyVariable, path: &Path, file: &Path, session: &Session) -> Outcome<()> {
    let scatter = scatter(found, file.file_name().unwrap_or_default().to_string_lossy().into_owned());
    pca_plot::save(&scatter, path, session)
}

fn scatter(found: &HighlyVariable, title: String) -> Scatter {
    let is_v3 = found.column("variances_norm").is_some();
    let means = found.column("means").unwrap_or_default();
    let variation = found.column(if is_v3 { "variances_norm" } else { "dispersions_norm" }).unwrap_or_default();
    // Means of counts span many powers of ten, and those of logarithms few.
    let place = |mean: f64| if is_v3 { mean.log10() } else { mean };
    let genes = means.iter().zip(variation).zip(&found.highly_variable);
    let points = genes.map(|((mean, variation), selected)| ((place(*mean), *variation), *selected));
    let all: Vec<_> = points.filter(|(point, _)| point.0.is_finite() && point.1.is_finite()).collect();
    let drawn: Vec<_> = drawn_rows(all.len() as u64).iter().map(|i| all[*i as usize]).collect();
    let codes = drawn.iter().map(|(_, selected)| Some(usize::from(!selected))).collect();
    Scatter {
        title,
        x_label: if is_v3 { "log10 of the mean" } else { "mean" }.into(),
        y_label: if is_v3 { "standardised variance" } else { "normalised dispersion" }.into(),
        points: drawn.into_iter().map(|(point, _)| point).collect(),
        coloring: Coloring::Classes {
            title: found.flavor.name().into(),
            classes: vec!["highly variable".into(), "others".into()],
            codes,
        },
        n_all: all.len() as u64,
    }
}
