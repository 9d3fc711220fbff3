//! The matrix that a command works on, and the names that its rows and columns have where they have any.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use allotment::array::{Array, DType};
use allotment::cells::AnnData;
use allotment::io::{self, Opened};
use allotment::{Error, cells};

use crate::failure::{Failure, Outcome};

/// A list of genes is names, not data: more than this is another kind of file given by mistake.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// An opened file.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) x: Array,
    pub(crate) anndata: Option<AnnData>,
}

impl Input {
    /// Opens a file of any format that is read.
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let opened = io::open(path)?;
        let x = opened.x().clone();
        let anndata = if let Opened::AnnData(anndata) = opened { Some(anndata) } else { None };
        Ok(Input { x, anndata })
    }

    /// Scales rows, takes logarithms, keeps genes: in this order, which is that of the field's tutorials.
    ///
    /// Counts become f64 first: with the f32 that scanpy takes, scores of ten thousand cells are off by 1e-5.
    pub(crate) fn prepare(&mut self, normalize: Option<f64>, log1p: bool, genes: Option<&Path>) -> Outcome<()> {
        if normalize.is_some() || log1p {
            self.x = self.x.astype(DType::F64);
        }
        if let Some(target_sum) = normalize {
            self.x = cells::normalize_total(&self.x, target_sum);
        }
        if log1p {
            self.x = cells::log1p(&self.x);
        }
        if let Some(path) = genes {
            let wanted = self.genes_of(path)?;
            self.x = self.x.select_columns(wanted)?;
        }
        Ok(())
    }

    /// Takes a layer for the matrix.
    pub(crate) fn take_layer(&mut self, name: &str) -> Outcome<()> {
        let layers = self.anndata.as_ref().map(|data| &data.layers);
        let Some(layer) = layers.and_then(|layers| layers.get(name)) else {
            let names: Vec<&str> = layers.into_iter().flat_map(|layers| layers.keys().map(String::as_str)).collect();
            let known = if names.is_empty() { "none".into() } else { names.join(", ") };
            return Err(Failure::Usage(format!("--layer {name}: the layers are: {known}")));
        };
        self.x = layer.clone();
        Ok(())
    }

    /// Returns the columns that a list names.
    pub(crate) fn genes_of(&self, path: &Path) -> Outcome<Vec<u64>> {
        let list = read_list(path)?;
        let n_cols = self.x.shape().1;
        let columns = match &self.anndata {
            Some(anndata) => find_names(path, &list, &anndata.var_names()?),
            None => list.iter().enumerate().map(|(i, text)| column_number(path, i, text, n_cols)).collect(),
        };
        Ok(columns?)
    }
}

fn read_list(path: &Path) -> Result<Vec<String>, Error> {
    let n_bytes = fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
    if n_bytes > MAX_LIST_BYTES {
        let found = format!("{n_bytes} bytes");
        return Err(Error::bad_input(path, "the file", "a list of genes, one a line", found));
    }
    let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    match names.is_empty() {
        true => Err(Error::bad_input(path, "the file", "a list of genes, one a line", "no gene")),
        false => Ok(names),
    }
}

/// Finds each name among the file's, refusing what is not there and what stands there twice.
fn find_names(path: &Path, wanted: &[String], names: &[String]) -> Result<Vec<u64>, Error> {
    let mut places: HashMap<&str, (u64, u32)> = HashMap::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        places.entry(name).and_modify(|(_, times)| *times += 1).or_insert((place as u64, 1));
    }
    let find = |(i, name): (usize, &String)| match places.get(name.as_str()) {
        Some((place, 1)) => Ok(*place),
        Some((_, times)) => Err(bad_line(path, i, "a name that one gene has", &format!("{name:?} of {times} genes"))),
        None => Err(bad_line(path, i, "the name of a gene of the matrix", &format!("{name:?}"))),
    };
    wanted.iter().enumerate().map(find).collect()
}

fn column_number(path: &Path, i: usize, text: &str, n_cols: u64) -> Result<u64, Error> {
    let number = text.parse::<u64>().ok().filter(|number| *number < n_cols);
    number.ok_or_else(|| bad_line(path, i, &format!("a column number below {n_cols}"), &format!("{text:?}")))
}

fn bad_line(path: &Path, i: usize, expected: &str, found: &str) -> Error {
    Error::bad_input(path, format!("entry {}", i + 1), expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn genes_are_found_in_the_order_of_the_list() {
        let found = find_names(Path::new("list"), &strings(&["c", "a"]), &strings(&["a", "b", "c"]));
        assert_eq!(found.expect("both are there"), [2, 0]);
    }

    #[test]
    fn a_gene_that_is_unknown_or_ambiguous_is_refused_by_name() {
        let names = strings(&["a", "b", "b"]);
        let refusal = |wanted: &str| {
            let error = find_names(Path::new("list"), &strings(&["a", wanted]), &names).expect_err(wanted);
            error.to_string()
        };
        assert_eq!(refusal("b"), "list: entry 2: expected a name that one gene has, found \"b\" of 2 genes");
        assert!(refusal("z").contains("\"z\""));
    }

    #[test]
    fn columns_without_names_are_numbers_in_range() {
        let number = |text: &str| column_number(Path::new("list"), 0, text, 4).ok();
        assert_eq!(
            [number("0"), number("3"), number("4"), number("-1"), number("x")],
            [Some(0), Some(3), None, None, None]
        );
    }

    #[test]
    fn an_empty_or_missing_list_is_refused() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let path = home.path().join("genes.txt");
        assert!(read_list(&path).is_err());
        fs::write(&path, "\n \n").expect("it can be written");
        assert!(read_list(&path).expect_err("no gene in it").to_string().contains("no gene"));
        fs::write(&path, "A\r\n\nB\n").expect("it can be written");
        assert_eq!(read_list(&path).expect("two genes"), ["A", "B"]);
    }
}
