//! A scatter of points as an SVG picture: who is where, in the colour of what, with a legend.
//!
//! The picture is made in memory and handed back as text, so that a failure leaves no file. What is drawn is capped:
//! of many points an even share is shown, and the picture says so; of many classes the largest keep their colours.

use plotters::prelude::*;

use crate::palette::{self, MISSING, OTHER};

/// More points than this make a picture that viewers open slowly and in which nothing more can be seen.
pub(crate) const MAX_POINTS: usize = 20_000;

const SIZE: (u32, u32) = (1000, 720);
pub(crate) const FONT: &str = "sans-serif";
const LINE_HEIGHT: i32 = 20;
const LEGEND_NAME_CHARS: usize = 30;

/// What colours the points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Coloring {
    /// One colour for all.
    Plain,
    /// A class each: `codes[i]` is an index into `classes`, or `None` where it is missing.
    Classes { title: String, classes: Vec<String>, codes: Vec<Option<usize>> },
    /// A number each; NaN is missing.
    Numbers { title: String, values: Vec<f64> },
}

/// Points with their colours and their labels.
#[derive(Clone, Debug)]
pub(crate) struct Scatter {
    pub(crate) title: String,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) coloring: Coloring,
    /// How many points there are, of which `points` may be an even share.
    pub(crate) n_all: u64,
}

/// One line of the legend.
struct LegendLine {
    color: RGBColor,
    text: String,
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
/// Why a picture cannot be drawn.
pub(crate) type PlotError = DrawingAreaErrorKind<std::io::Error>;

/// Returns which of `n` points to draw: all of them, or `MAX_POINTS` at even distances.
pub(crate) fn drawn_rows(n: u64) -> Vec<u64> {
    let drawn = n.min(MAX_POINTS as u64);
    (0..drawn).map(|i| (u128::from(i) * u128::from(n) / u128::from(drawn)) as u64).collect()
}

/// Draws the points and returns the picture as SVG text.
pub(crate) fn draw(scatter: &Scatter) -> Result<String, PlotError> {
    let mut picture = String::new();
    {
        let canvas = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        canvas.fill(&WHITE)?;
        let (colors, legend) = colors_and_legend(scatter);
        let legend_width = legend_width(scatter, &legend);
        let (chart, side) = canvas.split_horizontally(SIZE.0 as i32 - legend_width);
        draw_points(&chart, scatter, &colors)?;
        draw_legend(&side, scatter, &legend)?;
        canvas.present()?;
    }
    Ok(picture)
}

fn draw_points(area: &Canvas<'_>, scatter: &Scatter, colors: &[RGBColor]) -> Result<(), PlotError> {
    let (xs, ys) = (padded_range(scatter.points.iter().map(|p| p.0)), padded_range(scatter.points.iter().map(|p| p.1)));
    let mut chart = ChartBuilder::on(area)
        .margin(18)
        .caption(&scatter.title, (FONT, 20))
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(230, 230, 230))
        .axis_style(RGBColor(90, 90, 90))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 16))
        .x_desc(&scatter.x_label)
        .y_desc(&scatter.y_label)
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&tick)
        .y_label_formatter(&tick)
        .draw()?;
    let radius = match scatter.points.len() {
        0..3000 => 3,
        3000..12_000 => 2,
        _ => 1,
    };
    // Missing points first, so that they never hide one that says something.
    for missing_first in [true, false] {
        let drawn = scatter.points.iter().zip(colors).filter(|(_, color)| (**color == MISSING) == missing_first);
        chart.draw_series(drawn.map(|(point, color)| Circle::new(*point, radius, color.mix(0.75).filled())))?;
    }
    Ok::<(), PlotError>(())
}

fn draw_legend(area: &Canvas<'_>, scatter: &Scatter, legend: &[LegendLine]) -> Result<(), PlotError> {
    let text = (FONT, 14).into_font().color(&RGBColor(40, 40, 40));
    let mut y = 56;
    if let Some(title) = legend_title(scatter) {
        area.draw(&Text::new(shortened(&title), (0, y - 30), (FONT, 16).into_font()))?;
    }
    for line in legend {
        area.draw(&Circle::new((7, y), 5, line.color.filled()))?;
        area.draw(&Text::new(line.text.clone(), (19, y - 5), text.clone()))?;
        y += LINE_HEIGHT;
    }
    if (scatter.points.len() as u64) < scatter.n_all {
        let lines = [
            format!("{} of {}", with_commas(scatter.points.len() as u64), with_commas(scatter.n_all)),
            "points, evenly taken".into(),
        ];
        for line in lines {
            area.draw(&Text::new(line, (0, y + 4), text.clone()))?;
            y += LINE_HEIGHT - 2;
        }
    }
    Ok(())
}

/// Returns each point's colour and the lines that explain them.
fn colors_and_legend(scatter: &Scatter) -> (Vec<RGBColor>, Vec<LegendLine>) {
    match &scatter.coloring {
        Coloring::Plain => (vec![palette::class(0); scatter.points.len()], Vec::new()),
        Coloring::Classes { classes, codes, .. } => class_colors(classes, codes),
        Coloring::Numbers { values, .. } => number_colors(values),
    }
}

fn class_colors(classes: &[String], codes: &[Option<usize>]) -> (Vec<RGBColor>, Vec<LegendLine>) {
    let mut counts = vec![0u64; classes.len()];
    codes.iter().flatten().for_each(|code| counts[*code] += 1);
    let mut by_size: Vec<usize> = (0..classes.len()).filter(|class| counts[*class] > 0).collect();
    by_size.sort_by_key(|class| (std::cmp::Reverse(counts[*class]), *class));
    let n_named = if by_size.len() <= palette::N_CLASSES { by_size.len() } else { palette::N_CLASSES - 1 };
    let mut named = by_size[..n_named].to_vec();
    // Classes keep the order of the file, in which neighbours are often related.
    named.sort_unstable();
    let mut color_of = vec![OTHER; classes.len()];
    named.iter().enumerate().for_each(|(i, class)| color_of[*class] = palette::class(i));

    let line =
        |color, name: &str, n: u64| LegendLine { color, text: format!("{} ({})", shortened(name), with_commas(n)) };
    let mut legend: Vec<LegendLine> = named.iter().map(|c| line(color_of[*c], &classes[*c], counts[*c])).collect();
    let rest = &by_size[n_named..];
    if !rest.is_empty() {
        let n_rest = rest.iter().map(|class| counts[*class]).sum();
        legend.push(line(OTHER, &format!("{} others", rest.len()), n_rest));
    }
    let n_missing = codes.iter().filter(|code| code.is_none()).count() as u64;
    if n_missing > 0 {
        legend.push(line(MISSING, "missing", n_missing));
    }
    (codes.iter().map(|code| code.map_or(MISSING, |c| color_of[c])).collect(), legend)
}

fn number_colors(values: &[f64]) -> (Vec<RGBColor>, Vec<LegendLine>) {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let share = |v: f64| if high > low { (v - low) / (high - low) } else { 0.5 };
    let color = |v: f64| if v.is_finite() { palette::shade(share(v)) } else { MISSING };
    let mut legend = Vec::new();
    if low <= high {
        let steps: &[f64] = if high > low { &[1.0, 0.75, 0.5, 0.25, 0.0] } else { &[0.0] };
        legend.extend(steps.iter().map(|step| {
            let value = low + step * (high - low);
            LegendLine { color: color(value), text: four_digits(value) }
        }));
    }
    if values.iter().any(|v| !v.is_finite()) {
        legend.push(LegendLine { color: MISSING, text: "missing".into() });
    }
    (values.iter().map(|v| color(*v)).collect(), legend)
}

fn legend_title(scatter: &Scatter) -> Option<String> {
    match &scatter.coloring {
        Coloring::Plain => None,
        Coloring::Classes { title, .. } | Coloring::Numbers { title, .. } => Some(title.clone()),
    }
}

/// The backend knows no fonts, so the width of a line is taken from its length, generously.
fn legend_width(scatter: &Scatter, legend: &[LegendLine]) -> i32 {
    let sampled = (scatter.points.len() as u64) < scatter.n_all;
    let longest = legend.iter().map(|line| line.text.chars().count() + 3).max().unwrap_or(0);
    let title = legend_title(scatter).map_or(0, |title| shortened(&title).chars().count() + 1);
    let chars = longest.max(title).max(if sampled { 22 } else { 0 });
    if chars == 0 { 0 } else { (chars as i32 * 8).clamp(120, 330) }
}

fn padded_range(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = (finite.clone().fold(f64::INFINITY, f64::min), finite.fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return -1.0..1.0;
    }
    let pad = if high > low { 0.04 * (high - low) } else { 1.0f64.max(low.abs() * 0.04) };
    low - pad..high + pad
}

/// Prints the number at a line of the grid.
pub(crate) fn tick(value: &f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// Prints a number with four significant digits, as many as a colour can tell.
fn four_digits(value: f64) -> String {
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let step = 10f64.powi(magnitude - 3);
    let rounded = (value / step).round() * step;
    tick(if rounded.is_finite() { &rounded } else { &value })
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LEGEND_NAME_CHARS {
        return name.to_owned();
    }
    name.chars().take(LEGEND_NAME_CHARS - 1).chain(['…']).collect()
}

/// Prints a count with commas between the thousands.
pub(crate) fn with_commas(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let mut groups: Vec<&str> = if first > 0 { vec![&digits[..first]] } else { Vec::new() };
    groups.extend((first..digits.len()).step_by(3).map(|i| &digits[i..i + 3]));
    groups.join(",")
}
