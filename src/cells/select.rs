//! Some cells and some genes of annotated data, as `adata[cells, genes]` gives them: every part follows, nothing is read.
//!
//! ```text
//!   obs, obsm   rows     x, layers   rows and columns     var, varm   columns
//!   obsp        rows, both ways      raw   rows only      varp        columns, both ways
//! ```
//!
//! Always true: `uns` is left as it is, and the result is as lazy as what it was made from.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Range, RangeFull};
use std::sync::Arc;

use super::frame_views::list_of;
use super::{AnnData, Frame, Raw, Table};
use crate::array::{Array, Columns};
use crate::error::{Error, Result};

/// Which cells, or which genes.
///
/// # Examples
///
/// ```
/// use allotment::{array::Columns, cells::Choice};
/// assert_eq!(Choice::from(..), Choice::Places(Columns::All));
/// assert_eq!(Choice::from(["CD3D", "LYZ"]), Choice::Names(vec!["CD3D".into(), "LYZ".into()]));
/// assert_eq!(Choice::from(vec![true, false]), Choice::Places(Columns::Mask(vec![true, false])));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By place: all, a range, a list or a mask.
    Places(Columns),
    /// By name, in this order.
    Names(Vec<String>),
}

impl From<RangeFull> for Choice {
    fn from(_: RangeFull) -> Self {
        Choice::Places(Columns::All)
    }
}

macro_rules! by_place {
    ($($type:ty),*) => {
        $(impl From<$type> for Choice {
            fn from(places: $type) -> Self {
                Choice::Places(places.into())
            }
        })*
    };
}
by_place!(Columns, Range<u64>, Vec<u64>, &[u64], Vec<bool>);

impl From<Vec<String>> for Choice {
    fn from(names: Vec<String>) -> Self {
        Choice::Names(names)
    }
}

impl From<&[&str]> for Choice {
    fn from(names: &[&str]) -> Self {
        Choice::Names(names.iter().map(|name| name.to_string()).collect())
    }
}

impl<const N: usize> From<[&str; N]> for Choice {
    fn from(names: [&str; N]) -> Self {
        Choice::from(&names[..])
    }
}

impl Choice {
    /// Finds the places in a frame; `None` for all of them.
    fn places(self, what: &'static str, frame: &Frame) -> Result<Option<Arc<[u64]>>> {
        match self {
            Choice::Places(places) => list_of(what, places, frame.len()),
            Choice::Names(wanted) => Ok(Some(places_of(what, &wanted, &frame.row_names()?)?)),
        }
    }
}

/// Finds names that each stand once.
fn places_of(what: &'static str, wanted: &[String], known: &[String]) -> Result<Arc<[u64]>> {
    let mut places: HashMap<&str, (u64, u64)> = HashMap::with_capacity(known.len());
    for (place, name) in (0u64..).zip(known) {
        places.entry(name).or_insert((place, 0)).1 += 1;
    }
    let find = |name: &String| match places.get(name.as_str()) {
        Some((place, 1)) => Ok(*place),
        Some((_, times)) => {
            let found = format!("{name:?}, which stands {times} times");
            Err(Error::bad_argument(what, "names", found, "a name that stands once; choose by place instead"))
        }
        None => {
            let expected = format!("one of the {} names", known.len());
            Err(Error::bad_argument(what, "names", format!("{name:?}"), expected))
        }
    };
    wanted.iter().map(find).collect()
}

/// Turns a list of places into the choice that an array takes: a run of neighbours stays one.
fn columns_of(list: &[u64]) -> Columns {
    match list {
        [first, ..] if list.iter().zip(*first..).all(|(place, next)| *place == next) => {
            Columns::Range(*first..first + list.len() as u64)
        }
        _ => Columns::List(list.to_vec()),
    }
}

type List = Option<Arc<[u64]>>;

fn rows_of(array: &Array, rows: &List) -> Result<Array> {
    rows.as_ref().map_or(Ok(array.clone()), |rows| array.select_rows(columns_of(rows)))
}

fn both_of(array: &Array, rows: &List, cols: &List) -> Result<Array> {
    let kept = rows_of(array, rows)?;
    cols.as_ref().map_or(Ok(kept.clone()), |cols| kept.select_columns(columns_of(cols)))
}

fn arrays_of(arrays: &BTreeMap<String, Array>, rows: &List, cols: &List) -> Result<BTreeMap<String, Array>> {
    arrays.iter().map(|(name, array)| Ok((name.clone(), both_of(array, rows, cols)?))).collect()
}

fn frame_of(frame: &Frame, rows: &List) -> Frame {
    rows.as_ref().map_or_else(|| frame.clone(), |rows| frame.taken(rows.clone()))
}

fn tables_of(tables: &BTreeMap<String, Table>, rows: &List) -> Result<BTreeMap<String, Table>> {
    let one = |table: &Table| {
        Ok(match table {
            Table::Array(array) => Table::Array(rows_of(array, rows)?),
            Table::Frame(frame) => Table::Frame(frame_of(frame, rows)),
        })
    };
    tables.iter().map(|(name, table)| Ok((name.clone(), one(table)?))).collect()
}

impl AnnData {
    /// Keeps some cells and some genes, in the order and as often as given; `..` keeps all.
    ///
    /// Nothing is read or computed but the names, where a choice is by name. Of a file, a choice of rows in ascending
    /// order reads it once from beginning to end.
    ///
    /// # Errors
    /// `OutOfRange` for a place that does not exist; `BadArgument` for a mask of another length, and for a name that
    /// stands nowhere or more than once; whatever reading the names can fail with.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array, cells::{AnnData, Frame}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let names = |names: [&str; 2]| Frame::in_memory(names.map(String::from).to_vec(), vec![]);
    /// let x = Array::from_rows(&[[1u8, 2], [3, 4]])?;
    /// let data = AnnData::new(x, names(["cell 1", "cell 2"])?, names(["CD3D", "LYZ"])?)?;
    /// let kept = data.select(vec![false, true], ["LYZ"])?;
    /// assert_eq!(kept.x.compute(&cluster)?.to_vec::<u8>(), [4]);
    /// assert_eq!(kept.obs_names()?, ["cell 2"]);
    /// assert_eq!(data.select(.., 0u64..1)?.var_names()?, ["CD3D"]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn select(&self, cells: impl Into<Choice>, genes: impl Into<Choice>) -> Result<AnnData> {
        let rows = cells.into().places("select cells", &self.obs)?;
        let cols = genes.into().places("select genes", &self.var)?;
        let raw = |raw: &Raw| Ok(Raw { x: rows_of(&raw.x, &rows)?, ..raw.clone() });
        Ok(AnnData {
            x: both_of(&self.x, &rows, &cols)?,
            obs: frame_of(&self.obs, &rows),
            var: frame_of(&self.var, &cols),
            layers: arrays_of(&self.layers, &rows, &cols)?,
            obsm: tables_of(&self.obsm, &rows)?,
            varm: tables_of(&self.varm, &cols)?,
            obsp: arrays_of(&self.obsp, &rows, &rows)?,
            varp: arrays_of(&self.varp, &cols, &cols)?,
            uns: self.uns.clone(),
            raw: self.raw.as_ref().map(raw).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{cluster, data_of, values};
    use super::super::{Column, Value};
    use super::*;

    fn full() -> AnnData {
        let mut data = data_of(5, 4, |i, j| (i * 10 + j) as f64);
        data.layers.insert("counts".into(), data.x.scale(2.0));
        data.obsm.insert("pca".into(), data.x.select_columns(0..2).expect("two").into());
        let frame =
            Frame::in_memory(data.obs_names().expect("names"), vec![("n".into(), Column::from(vec![0u8, 1, 2, 3, 4]))]);
        data.obsm.insert("frame".into(), frame.expect("five").into());
        data.varm.insert("PCs".into(), data.x.transpose().into());
        let pairs =
            |n: u64| Array::from_slice(n as usize, n as usize, &(0..n * n).collect::<Vec<_>>()).expect("a square");
        data.obsp.insert("near".into(), pairs(5).to_csr().expect("five columns"));
        data.varp.insert("like".into(), pairs(4));
        data.uns.insert("log1p".into(), Value::Null);
        data.raw = Some(Raw { x: data.x.clone(), var: data.var.clone(), varm: BTreeMap::new() });
        data
    }

    #[test]
    fn every_part_follows_a_choice() {
        let (data, cluster) = (full(), cluster(2));
        let (rows, cols) = ([4u64, 1], [2u64, 0, 3]);
        for (cells, genes) in [
            (Choice::from(&rows[..]), Choice::from(&cols[..])),
            (Choice::from(["cell 4", "cell 1"]), Choice::from(["gene 2", "gene 0", "gene 3"])),
        ] {
            let kept = data.select(cells, genes).expect("they exist");
            kept.check().expect("every part has the right shape");
            let naive = |f: &dyn Fn(u64, u64) -> f64, rows: &[u64], cols: &[u64]| -> Vec<f64> {
                rows.iter().flat_map(|i| cols.iter().map(|j| f(*i, *j))).collect()
            };
            let x = |i: u64, j: u64| (i * 10 + j) as f64;
            assert_eq!(values(&cluster, &kept.x), naive(&x, &rows, &cols));
            assert_eq!(values(&cluster, &kept.layers["counts"]), naive(&|i, j| 2.0 * x(i, j), &rows, &cols));
            assert_eq!(values(&cluster, kept.obsm["pca"].array().expect("numbers")), naive(&x, &rows, &[0, 1]));
            assert_eq!(
                values(&cluster, kept.varm["PCs"].array().expect("numbers")),
                naive(&|j, i| x(i, j), &cols, &[0, 1, 2, 3, 4])
            );
            assert_eq!(values(&cluster, &kept.obsp["near"]), naive(&|i, j| (i * 5 + j) as f64, &rows, &rows));
            assert_eq!(values(&cluster, &kept.varp["like"]), naive(&|i, j| (i * 4 + j) as f64, &cols, &cols));
            assert_eq!(values(&cluster, &kept.raw.expect("raw").x), naive(&x, &rows, &[0, 1, 2, 3]));
            let Table::Frame(frame) = &kept.obsm["frame"] else { panic!("a frame") };
            assert_eq!(frame.column("n").expect("there").text(0).as_deref(), Some("4"));
            assert!(kept.uns.contains_key("log1p"));
        }
    }

    #[test]
    fn all_and_none_are_not_the_same() {
        let data = full();
        assert_eq!(data.select(.., ..).expect("all").x.shape(), (5, 4));
        let none = data.select(Vec::<u64>::new(), ..).expect("none");
        assert_eq!((none.x.shape(), none.n_obs()), ((0, 4), 0));
        assert!(values(&cluster(1), &none.x).is_empty());
    }

    #[test]
    fn names_that_are_unknown_or_stand_twice_are_refused() {
        let unknown = full().select(["cell 9"], ..).expect_err("there are five cells");
        assert!(unknown.to_string().contains("\"cell 9\""), "{unknown}");
        let twice = Frame::in_memory(vec!["g".into(), "g".into()], vec![]).expect("two rows");
        let one = Frame::in_memory(vec!["c".into()], vec![]).expect("one row");
        let data = AnnData::new(Array::from_rows(&[[1, 2]]).expect("one row"), one, twice).expect("one by two");
        let error = data.select(.., ["g"]).expect_err("two genes have that name");
        assert!(error.to_string().contains("2 times"), "{error}");
        assert!(data.select(1u64..3, ..).is_err() && data.select(.., vec![true]).is_err());
    }
}
