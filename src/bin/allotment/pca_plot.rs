//! The picture of a PCA: components 1 and 2, in the colours of an obs column.

use std::path::Path;

use allotment::array::Array;
use allotment::cells::Column;
use allotment::{Cluster, Error};

use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::plot::{self, Coloring, Scatter, drawn_rows};
use crate::session::Session;
use crate::staging::write_whole;

/// Reads the column that colours the points: the named one, or else the first with categories.
pub(crate) fn coloring(input: &Input, name: Option<&str>) -> Outcome<Coloring> {
    let Some(anndata) = &input.anndata else {
        return match name {
            Some(name) => Err(Failure::Usage(format!("--color {name}: only .h5ad files have obs columns"))),
            None => Ok(Coloring::Plain),
        };
    };
    let columns = anndata.obs.columns();
    if let Some(name) = name {
        if !columns.iter().any(|column| column == name) {
            let known = if columns.is_empty() { "none".into() } else { columns.join(", ") };
            return Err(Failure::Usage(format!("--color {name}: the obs columns are: {known}")));
        }
        return Ok(from_column(name, anndata.obs.column(name)?));
    }
    for name in columns {
        // A column that cannot be read was not asked for: the next one may do.
        if let Ok(column @ Column::Categories(_)) = anndata.obs.column(name) {
            return Ok(from_column(name, column));
        }
    }
    Ok(Coloring::Plain)
}

fn from_column(name: &str, column: Column) -> Coloring {
    let title = name.to_owned();
    match column {
        Column::Numbers(numbers) => Coloring::Numbers { title, values: numbers.to_f64() },
        Column::Categories(categories) => {
            let codes = categories.codes.iter().map(|code| usize::try_from(*code).ok()).collect();
            Coloring::Classes { title, classes: categories.names, codes }
        }
        Column::Bools(values) => {
            let codes = values.iter().map(|value| value.map(usize::from)).collect();
            Coloring::Classes { title, classes: vec!["false".into(), "true".into()], codes }
        }
        Column::Strings(values) => from_strings(title, values),
        // A kind of column that came later has no colours here yet.
        _ => Coloring::Plain,
    }
}

fn from_strings(title: String, values: Vec<Option<String>>) -> Coloring {
    let mut classes: Vec<String> = values.iter().flatten().cloned().collect();
    classes.sort_unstable();
    classes.dedup();
    let place = |value: &String| classes.binary_search(value).ok();
    let codes = values.iter().map(|value| value.as_ref().and_then(place)).collect();
    Coloring::Classes { title, classes, codes }
}

/// Keeps the colours of the rows that are drawn.
fn of_rows(coloring: Coloring, rows: &[u64]) -> Coloring {
    let at = |row: &u64| *row as usize;
    match coloring {
        Coloring::Plain => Coloring::Plain,
        Coloring::Classes { title, classes, codes } => {
            let codes = rows.iter().map(|row| codes.get(at(row)).copied().flatten()).collect();
            Coloring::Classes { title, classes, codes }
        }
        Coloring::Numbers { title, values } => {
            let values = rows.iter().map(|row| values.get(at(row)).copied().unwrap_or(f64::NAN)).collect();
            Coloring::Numbers { title, values }
        }
    }
}

/// Draws the picture and writes it.
pub(crate) fn draw(
    (scores, shares): (&Array, &[f64]),
    coloring: Coloring,
    path: &Path,
    file: &Path,
    session: &Session,
) -> Outcome<()> {
    let n_all = scores.rows();
    let rows = drawn_rows(n_all);
    let label = |i: usize| {
        let percent = 100.0 * shares.get(i).copied().unwrap_or(f64::NAN);
        format!("component {} ({percent:.1} % of the variance)", i + 1)
    };
    let scatter = Scatter {
        title: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        x_label: label(0),
        y_label: label(1),
        points: points(scores, &rows, &session.cluster).map_err(|e| session.fail(e))?,
        coloring: of_rows(coloring, &rows),
        n_all,
    };
    if (rows.len() as u64) < n_all {
        session.reporter.note(&format!("the picture shows {} of {n_all} rows, evenly taken", rows.len()));
    }
    save(&scatter, path, session)
}

/// Draws any picture and writes it.
pub(crate) fn save(scatter: &Scatter, path: &Path, session: &Session) -> Outcome<()> {
    let picture = plot::draw(scatter).map_err(|e| Error::io("draw", path, std::io::Error::other(e.to_string())))?;
    write_whole(path, picture.as_bytes(), &session.interrupt)
}

/// Draws the share of the variance that each component holds, and writes the picture.
pub(crate) fn draw_elbow(shares: &[f64], path: &Path, file: &Path, session: &Session) -> Outcome<()> {
    let scatter = Scatter {
        title: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        x_label: "component".into(),
        y_label: "% of the variance".into(),
        points: (1..).zip(shares).map(|(i, share)| (f64::from(i), 100.0 * share)).collect(),
        coloring: Coloring::Plain,
        n_all: shares.len() as u64,
    };
    save(&scatter, path, session)
}

/// Collects the first two scores of the given rows, which ascend, block by block.
fn points(scores: &Array, rows: &[u64], cluster: &Cluster) -> Result<Vec<(f64, f64)>, Error> {
    let mut points = Vec::with_capacity(rows.len());
    let (mut wanted, mut first) = (rows.iter().peekable(), 0u64);
    for block in scores.blocks(cluster)? {
        let block = block?;
        let n_rows = block.rows() as u64;
        while let Some(row) = wanted.next_if(|row| **row < first + n_rows) {
            let start = (row - first) as usize * block.cols();
            points.push((block.values().at(start), block.values().at(start + 1)));
        }
        block.check()?;
        first += n_rows;
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_classes_in_alphabetical_order() {
        let values = ["b", "a", "", "b"].map(|s| (!s.is_empty()).then(|| s.to_owned())).to_vec();
        let expected = Coloring::Classes {
            title: "t".into(),
            classes: vec!["a".into(), "b".into()],
            codes: vec![Some(1), Some(0), None, Some(1)],
        };
        assert_eq!(from_column("t", Column::Strings(values)), expected);
    }

    #[test]
    fn a_column_that_is_too_short_leaves_points_grey() {
        let numbers = Coloring::Numbers { title: "t".into(), values: vec![1.0, 2.0] };
        let Coloring::Numbers { values, .. } = of_rows(numbers, &[1, 5]) else { panic!("still numbers") };
        assert!(values[0] == 2.0 && values[1].is_nan());
    }
}
