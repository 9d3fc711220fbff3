//! The picture of a quality check: a violin for each figure, as wide as there are cells of that value, its quartiles marked.
//!
//! The width is a kernel density estimate (B. W. Silverman, Density Estimation for Statistics and Data Analysis, 1986,
//! equations 2.2a and 3.31): a normal kernel, whose width is 0.9 times the smaller of the deviation and the interquartile
//! range over 1.34, times n to the power of -1/5. Cells are counted in bins first, so that a picture of millions costs no more.

use std::path::Path;

use allotment::Error;
use plotters::prelude::*;

use crate::failure::Outcome;
use crate::palette;
use crate::plot::{FONT, PlotError, tick};
use crate::session::Session;
use crate::staging::write_whole;

const PANEL: (u32, u32) = (320, 520);
/// The bins, and the places where the outline is drawn.
const N_BINS: usize = 256;

/// One figure's distribution.
#[derive(Clone, Debug)]
pub(crate) struct Violin {
    title: String,
    /// Values and their widths, between 0 and 1.
    outline: Vec<(f64, f64)>,
    /// The quartiles; none of no values.
    quartiles: Option<[f64; 3]>,
}

impl Violin {
    /// Estimates the distribution of ascending values.
    pub(crate) fn new(title: &str, ascending: &[f64]) -> Self {
        let title = title.to_owned();
        let at = |share: f64| ascending[(share * (ascending.len() - 1) as f64).round() as usize];
        let (Some(low), Some(high)) = (ascending.first(), ascending.last()) else {
            return Violin { title, outline: Vec::new(), quartiles: None };
        };
        let quartiles = [0.25, 0.5, 0.75].map(at);
        let outline = match high > low && (high - low).is_finite() {
            true => density(ascending, (*low, *high), quartiles[2] - quartiles[0]),
            false => vec![(*low, 1.0)],
        };
        Violin { title, outline, quartiles: Some(quartiles) }
    }
}

/// Returns the estimate at each bin's middle, its greatest being 1.
fn density(ascending: &[f64], (low, high): (f64, f64), between_quartiles: f64) -> Vec<(f64, f64)> {
    let step = (high - low) / N_BINS as f64;
    let mut counts = vec![0.0; N_BINS];
    ascending.iter().for_each(|x| counts[(((x - low) / step) as usize).min(N_BINS - 1)] += 1.0);
    let n = ascending.len() as f64;
    let mean = ascending.iter().sum::<f64>() / n;
    let deviation = (ascending.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let spread = if between_quartiles > 0.0 { deviation.min(between_quartiles / 1.34) } else { deviation };
    // Narrower than a bin nothing can be seen.
    let width = (0.9 * spread * n.powf(-0.2)).max(step);
    let kernel: Vec<f64> = (0..N_BINS).map(|d| (-0.5 * (d as f64 * step / width).powi(2)).exp()).collect();
    let at = |i: usize| counts.iter().enumerate().map(|(j, count)| count * kernel[i.abs_diff(j)]).sum::<f64>();
    let estimate: Vec<f64> = (0..N_BINS).map(at).collect();
    let greatest = estimate.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    estimate.iter().enumerate().map(|(i, x)| (low + (i as f64 + 0.5) * step, x / greatest)).collect()
}

/// Draws the picture and writes it.
pub(crate) fn draw(violins: &[Violin], path: &Path, file: &Path, session: &Session) -> Outcome<()> {
    let title = file.file_name().unwrap_or_default().to_string_lossy();
    let picture =
        picture(violins, &title).map_err(|e| Error::io("draw", path, std::io::Error::other(e.to_string())))?;
    write_whole(path, picture.as_bytes(), &session.interrupt)
}

fn picture(violins: &[Violin], title: &str) -> Result<String, PlotError> {
    let mut picture = String::new();
    {
        let size = (PANEL.0 * violins.len().max(1) as u32, PANEL.1);
        let canvas = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        canvas.fill(&WHITE)?;
        let below = canvas.titled(title, (FONT, 20))?;
        for (i, (area, violin)) in below.split_evenly((1, violins.len().max(1))).iter().zip(violins).enumerate() {
            draw_violin(area, violin, palette::class(i))?;
        }
        canvas.present()?;
    }
    Ok(picture)
}

fn draw_violin(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    violin: &Violin,
    color: RGBColor,
) -> Result<(), PlotError> {
    let (low, high) = match (violin.outline.first(), violin.outline.last()) {
        (Some((low, _)), Some((high, _))) if high > low => (*low, *high),
        (Some((only, _)), _) => (only - 1.0, only + 1.0),
        _ => (0.0, 1.0),
    };
    let pad = 0.04 * (high - low);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(&violin.title, (FONT, 15))
        .y_label_area_size(56)
        .x_label_area_size(12)
        .build_cartesian_2d(-1.2..1.2, low - pad..high + pad)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(230, 230, 230))
        .axis_style(RGBColor(90, 90, 90))
        .label_style((FONT, 13))
        .y_labels(8)
        .y_label_formatter(&tick)
        .draw()?;
    let right = violin.outline.iter().map(|(value, width)| (*width, *value));
    let left = violin.outline.iter().rev().map(|(value, width)| (-width, *value));
    let around: Vec<(f64, f64)> = right.chain(left).collect();
    chart.draw_series([Polygon::new(around.clone(), color.mix(0.6))])?;
    chart.draw_series([PathElement::new(around, color)])?;
    let dark = RGBColor(40, 40, 40);
    if let Some([first, median, third]) = violin.quartiles {
        chart.draw_series([PathElement::new(vec![(0.0, first), (0.0, third)], dark.stroke_width(5))])?;
        chart.draw_series([
            Circle::new((0.0, median), 4, WHITE.filled()),
            Circle::new((0.0, median), 4, dark.stroke_width(1)),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violin_is_widest_where_most_values_are() {
        // Two clusters, 10 and 20, the second three times as large.
        let mut values: Vec<f64> =
            (0..400).map(|i| if i < 100 { 10.0 } else { 20.0 } + f64::from(i % 7) * 0.1).collect();
        values.sort_unstable_by(f64::total_cmp);
        let violin = Violin::new("counts", &values);
        let (widest, _) = violin.outline.iter().copied().fold((0.0, 0.0), |a, b| if b.1 > a.1 { b } else { a });
        assert!((20.0..20.7).contains(&widest), "{widest}");
        assert!(violin.outline.iter().any(|(value, width)| (14.0..16.0).contains(value) && *width < 0.2));
    }

    #[test]
    fn one_value_no_value_and_infinity_have_a_picture() {
        let violins = [&[][..], &[3.0], &[2.0, 2.0], &[0.0, f64::INFINITY]].map(|values| Violin::new("figure", values));
        let picture = picture(&violins[..3], "cells.h5ad").expect("drawn in memory");
        assert!(picture.contains("cells.h5ad") && picture.contains("figure") && !picture.contains("NaN"));
        assert_eq!(violins[3].outline.len(), 1);
    }
}
