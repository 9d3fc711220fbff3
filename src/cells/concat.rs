//! Several sets of cells one below the other, as `anndata.concat` puts them together. Nothing is read but names.
//!
//! | genes | which | order | of a gene that some lack |
//! | --- | --- | --- | --- |
//! | inner | those of all | as in the first | – |
//! | outer | those of any | sorted by name, unless all sets have the same | 0 where any matrix is sparse, else NaN |
//!
//! As there, `obs` keeps the columns of all (of any, with `outer`), `var` the names only, and `uns`, `varm`, `varp`, `obsp` and `raw`
//! are left out; layers and matrices of `obsm` are kept that all sets have. A matrix is sparse where one of them is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::stacked::Stacked;
use super::{AnnData, Categories, Column, Frame, Table};
use crate::array::{Array, BlockKind, DType};
use crate::error::{Error, Result};

/// Which genes are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// Those of all.
    #[default]
    Inner,
    /// Those of any.
    Outer,
}

/// Settings of [`concat()`].
#[derive(Clone, Debug, Default)]
pub struct Concat {
    /// Which genes are kept.
    pub join: Join,
    /// A column of `obs` that says which set a cell is from.
    pub label: Option<String>,
    /// The sets' names; `None` for 0, 1, 2 and so on.
    pub keys: Option<Vec<String>>,
    /// What joins a cell's name and its set's; `None` leaves names as they are.
    pub index_unique: Option<String>,
    /// What stands where a set lacks a gene, instead of 0 or NaN; of sparse matrices only 0 can.
    pub fill_value: Option<f64>,
}

/// Puts cells one below the other.
///
/// # Errors
/// `BadArgument` for no sets, keys that are not one for each set or not all different, and for genes of one name where the
/// sets' genes differ; `Unsupported` for a fill value other than 0 of sparse matrices; whatever reading names can fail with.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::Array, cells::{self, AnnData, Concat, Frame, Join}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let names = |names: [&str; 2]| Frame::in_memory(names.map(String::from).to_vec(), vec![]);
/// let set = |genes| AnnData::new(Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?, names(["a", "b"])?, names(genes)?);
/// let sets = [set(["LYZ", "CD3D"])?, set(["CD3D", "NKG7"])?];
/// let options = Concat { label: Some("set".into()), index_unique: Some("-".into()), ..Default::default() };
/// let all = cells::concat(&sets, &options)?;
/// assert_eq!(all.var_names()?, ["CD3D"]);
/// assert_eq!(all.obs_names()?, ["a-0", "b-0", "a-1", "b-1"]);
/// assert_eq!(all.x.compute(&cluster)?.to_vec::<f64>(), [2.0, 4.0, 1.0, 3.0]);
///
/// let outer = cells::concat(&sets, &Concat { join: Join::Outer, ..Default::default() })?;
/// assert_eq!(outer.var_names()?, ["CD3D", "LYZ", "NKG7"]);
/// assert!(outer.x.compute(&cluster)?.to_vec::<f64>()[2].is_nan());
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn concat(sets: &[AnnData], options: &Concat) -> Result<AnnData> {
    let keys = keys_of(sets, options)?;
    let known = sets.iter().map(AnnData::var_names).collect::<Result<Vec<_>>>()?;
    let genes = genes_of(&known, options.join)?;
    let places: Vec<Vec<Option<u64>>> = known.iter().map(|known| places_in(known, &genes)).collect();
    let stacked = |arrays: Vec<&Array>| {
        let aligned = aligned(&arrays, &places, options.fill_value)?;
        stack(&aligned)
    };
    let var = Frame::in_memory(genes.clone(), Vec::new())?;
    let mut all =
        AnnData::new(stacked(sets.iter().map(|set| &set.x).collect())?, cells_of(sets, &keys, options)?, var)?;
    for name in sets[0].layers.keys() {
        if let Some(arrays) = sets.iter().map(|set| set.layers.get(name)).collect::<Option<Vec<_>>>() {
            all.layers.insert(name.clone(), stacked(arrays)?);
        }
    }
    all.obsm = embeddings(sets)?;
    Ok(all)
}

fn keys_of(sets: &[AnnData], options: &Concat) -> Result<Vec<String>> {
    let refuse =
        |argument, found: String, expected: String| Err(Error::bad_argument("concat", argument, found, expected));
    if sets.is_empty() {
        return refuse("number of sets", "0".into(), "at least 1".into());
    }
    let Some(keys) = &options.keys else { return Ok((0..sets.len()).map(|i| i.to_string()).collect()) };
    if keys.len() != sets.len() {
        return refuse("keys", format!("{} keys", keys.len()), format!("{}, one for each set", sets.len()));
    }
    let mut seen = HashSet::new();
    match keys.iter().find(|key| !seen.insert(key.as_str())) {
        Some(key) => refuse("keys", format!("{key:?} twice"), "all different".into()),
        None => Ok(keys.clone()),
    }
}

/// Returns the names of the genes that are kept.
fn genes_of(known: &[Vec<String>], join: Join) -> Result<Vec<String>> {
    // Sets of the same genes need no search, and names may repeat.
    if known.iter().all(|names| *names == known[0]) {
        return Ok(known[0].clone());
    }
    let sets = known.iter().map(|names| unique(names)).collect::<Result<Vec<_>>>()?;
    Ok(match join {
        Join::Inner => {
            known[0].iter().filter(|name| sets.iter().all(|set| set.contains(name.as_str()))).cloned().collect()
        }
        Join::Outer => sets.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().map(String::from).collect(),
    })
}

fn unique(names: &[String]) -> Result<HashSet<&str>> {
    let mut seen = HashSet::with_capacity(names.len());
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        None => Ok(seen),
        Some(name) => {
            let expected = "all different where the sets' genes differ: make names unique first";
            Err(Error::bad_argument("concat", "names of genes", format!("{name:?} twice"), expected))
        }
    }
}

fn places_in(known: &[String], genes: &[String]) -> Vec<Option<u64>> {
    if known == genes {
        return (0..known.len() as u64).map(Some).collect();
    }
    let places: HashMap<&str, u64> = known.iter().map(String::as_str).zip(0..).collect();
    genes.iter().map(|gene| places.get(gene.as_str()).copied()).collect()
}

/// Brings every matrix to the same genes.
fn aligned(arrays: &[&Array], places: &[Vec<Option<u64>>], fill_value: Option<f64>) -> Result<Vec<Array>> {
    let is_sparse = arrays.iter().any(|array| array.kind() == BlockKind::Csr);
    let lacks = places.iter().flatten().any(Option::is_none);
    let fill = fill_value.unwrap_or(if is_sparse { 0.0 } else { f64::NAN });
    if is_sparse && lacks && fill != 0.0 {
        return Err(Error::Unsupported {
            what: format!("filling sparse matrices with {fill}").into(),
            instead: "call to_dense() first, or leave fill_value out".into(),
        });
    }
    let one = |(array, places): (&&Array, &Vec<Option<u64>>)| {
        let array = if is_sparse { array.to_csr()? } else { (*array).clone() };
        if places.iter().all(Option::is_some) {
            return array.select_columns(places.iter().flatten().copied().collect::<Vec<_>>());
        }
        // One more column, of the fill value, stands for all that are missing.
        let dtype = if fill.fract() == 0.0 { array.dtype() } else { array.dtype().to_float() };
        let zeros = Array::zeros(array.rows(), 1, dtype, array.kind())?;
        let missing = if fill == 0.0 { zeros } else { zeros.add_scalar(fill)?.astype(dtype) };
        let wider = Array::hstack(&[array.astype(dtype), missing])?;
        wider.select_columns(places.iter().map(|place| place.unwrap_or(array.cols())).collect::<Vec<_>>())
    };
    arrays.iter().zip(places).map(one).collect()
}

/// Puts matrices of one number of columns and one kind one below the other, in the dtype that holds all their values.
fn stack(arrays: &[Array]) -> Result<Array> {
    let dtype = arrays.iter().map(Array::dtype).reduce(DType::promoted).expect("there is at least one set");
    Array::vstack(&arrays.iter().map(|array| array.astype(dtype)).collect::<Vec<_>>())
}

/// Stacks the matrices of `obsm` that all sets have, with as many columns.
fn embeddings(sets: &[AnnData]) -> Result<BTreeMap<String, Table>> {
    let mut all = BTreeMap::new();
    for name in sets[0].obsm.keys() {
        let arrays: Option<Vec<Array>> = sets.iter().map(|set| Some(set.obsm.get(name)?.array()?.to_dense())).collect();
        if let Some(arrays) = arrays.filter(|arrays| arrays.iter().all(|array| array.cols() == arrays[0].cols())) {
            all.insert(name.clone(), Table::Array(stack(&arrays)?));
        }
    }
    Ok(all)
}

/// Returns the frame of all cells.
fn cells_of(sets: &[AnnData], keys: &[String], options: &Concat) -> Result<Frame> {
    let frames: Vec<Frame> = sets.iter().map(|set| set.obs.clone()).collect();
    let has = |frame: &Frame, name: &String| frame.columns().contains(name);
    let mut columns: Vec<String> = Vec::new();
    for name in frames.iter().flat_map(Frame::columns) {
        let is_kept = options.join == Join::Outer || frames.iter().all(|frame| has(frame, name));
        if is_kept && !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let len = frames.iter().map(Frame::len).sum();
    let suffixes = options.index_unique.as_ref().map(|join| keys.iter().map(|key| format!("{join}{key}")).collect());
    let codes = frames.iter().zip(0..).flat_map(|(frame, code)| (0..frame.len()).map(move |_| code)).collect();
    let all = Frame::new(len, columns, Arc::new(Stacked { frames, suffixes }));
    match &options.label {
        None => Ok(all),
        Some(label) => all.with_column(label, Column::Categories(Categories::new(codes, keys.to_vec()))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{both_kinds, cluster, count, data_of, frame, values};
    use super::*;

    /// Three cells of the genes 0, 1 and 2, and two of the genes 2, 3 and 0, each value naming its cell and gene.
    fn sets() -> [AnnData; 2] {
        let mut a = data_of(3, 3, |i, j| (10 * i + j + 1) as f64);
        let names = ["gene 2", "gene 3", "gene 0"].map(String::from).to_vec();
        let mut b = AnnData {
            var: Frame::in_memory(names, vec![]).expect("three"),
            ..data_of(2, 3, |i, j| (100 * i + j + 50) as f64)
        };
        let types = |codes: Vec<i32>, names: [&str; 2]| {
            Column::Categories(Categories::new(codes, names.map(String::from).to_vec()))
        };
        let a_columns = vec![
            ("type".to_string(), types(vec![0, -1, 1], ["B", "T"])),
            ("n".to_string(), Column::from(vec![1u8, 2, 3])),
            ("only".to_string(), Column::from(vec![1.5f32, 2.5, 3.5])),
        ];
        let b_columns =
            vec![("n".to_string(), Column::from(vec![-4i8, 5])), ("type".to_string(), types(vec![1, 0], ["T", "NK"]))];
        a.obs = a.obs.with_columns(a_columns).expect("three cells");
        b.obs = b.obs.with_columns(b_columns).expect("two cells");
        [a, b].map(|mut set| {
            set.layers.insert("counts".into(), set.x.scale(2.0));
            set.obsm.insert("X_pca".into(), set.x.select_columns(0..2).expect("two").into());
            set
        })
    }

    #[test]
    fn genes_of_all_stand_in_the_order_of_the_first() {
        let [a, b] = sets();
        for (a, b) in both_kinds(&a, 2).into_iter().zip(both_kinds(&b, 1)) {
            let all = concat(&[a, b], &Concat::default()).expect("two sets");
            all.check().expect("every part has the right shape");
            assert_eq!(all.var_names().expect("names"), ["gene 0", "gene 2"]);
            let expected = [1.0, 3.0, 11.0, 13.0, 21.0, 23.0, 52.0, 50.0, 152.0, 150.0];
            assert_eq!(values(&cluster(2), &all.x), expected);
            assert_eq!(values(&cluster(2), &all.layers["counts"]), expected.map(|value| 2.0 * value));
            assert_eq!(all.obsm["X_pca"].rows(), 5);
            assert_eq!(all.obs.columns(), ["type", "n"]);
            let texts = |name: &str| {
                (0..5)
                    .map(|row| all.obs.column(name).expect("there").text(row).unwrap_or("-".into()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(texts("type"), ["B", "-", "T", "NK", "T"]);
            assert_eq!(texts("n"), ["1", "2", "3", "-4", "5"]);
            assert!(matches!(all.obs.column("n").expect("there"), Column::Numbers(n) if n.dtype() == DType::I16));
            // As ad.concat([a, b]).obs["type"].cat.categories of anndata 0.12.19.
            assert!(
                matches!(all.obs.column("type").expect("there"), Column::Categories(c) if c.names == ["B", "NK", "T"])
            );
        }
    }

    #[test]
    fn genes_of_any_are_sorted_and_filled_where_they_are_missing() {
        let [a, b] = sets();
        let outer = Concat {
            join: Join::Outer,
            label: Some("set".into()),
            keys: Some(vec!["a".into(), "b".into()]),
            ..Default::default()
        };
        for ((a, b), fill) in both_kinds(&a, 2).into_iter().zip(both_kinds(&b, 1)).zip([f64::NAN, 0.0]) {
            let all = concat(&[a, b], &outer).expect("two sets");
            assert_eq!(all.var_names().expect("names"), ["gene 0", "gene 1", "gene 2", "gene 3"]);
            let expected = [
                [1.0, 2.0, 3.0, fill],
                [11.0, 12.0, 13.0, fill],
                [21.0, 22.0, 23.0, fill],
                [52.0, fill, 50.0, 51.0],
                [152.0, fill, 150.0, 151.0],
            ];
            let found = values(&cluster(2), &all.x);
            assert!(
                found.iter().zip(expected.as_flattened()).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())),
                "{found:?}"
            );
            assert_eq!(all.obs.columns(), ["type", "n", "only", "set"]);
            let only = all.obs.column("only").expect("there");
            assert!(only.n_missing() == 2 && matches!(only, Column::Numbers(n) if n.dtype() == DType::F32));
            assert_eq!(all.obs.column("set").expect("there").text(3).as_deref(), Some("b"));
        }
    }

    #[test]
    fn one_kind_and_one_dtype_come_of_several_and_a_fill_value_is_taken() {
        let [a, b] = sets();
        let mixed = [
            AnnData { x: a.x.astype(DType::U8).to_csr().expect("three"), ..a.clone() },
            AnnData { x: b.x.astype(DType::F32), ..b.clone() },
        ];
        let all = concat(&mixed, &Concat::default()).expect("two sets");
        assert_eq!((all.x.kind(), all.x.dtype()), (BlockKind::Csr, DType::F32));
        let whole = [a, b].map(|set| AnnData { x: set.x.astype(DType::I16), layers: BTreeMap::new(), ..set });
        let all = concat(&whole, &Concat { join: Join::Outer, fill_value: Some(-1.0), ..Default::default() })
            .expect("two sets");
        assert_eq!((all.x.dtype(), values(&cluster(1), &all.x)[3]), (DType::I16, -1.0));
        let filled = Concat { join: Join::Outer, fill_value: Some(-1.0), ..Default::default() };
        assert!(matches!(concat(&mixed, &filled), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn categories_keep_an_order_that_all_sets_share_and_columns_of_two_kinds_become_text() {
        let with = |names: [&str; 2], n: usize| {
            let codes = Categories::new((0..n as i32).map(|i| i % 2).collect(), names.map(String::from).to_vec());
            let stage = Column::Categories(Categories { ordered: true, ..codes });
            let data = data_of(n, 3, count);
            AnnData { obs: data.obs.with_column("stage", stage).expect("a value each"), ..data }
        };
        let stage = |sets: [AnnData; 2]| {
            concat(&sets, &Concat::default()).expect("two sets").obs.column("stage").expect("both have it")
        };
        let same = stage([with(["young", "old"], 2), with(["young", "old"], 1)]);
        assert!(matches!(&same, Column::Categories(of) if of.ordered && of.names == ["young", "old"]));
        assert_eq!((same.text(1).as_deref(), same.text(2).as_deref()), (Some("old"), Some("young")));
        let other = stage([with(["young", "old"], 2), with(["old", "young"], 1)]);
        assert!(matches!(&other, Column::Strings(_)) && other.text(2).as_deref() == Some("old"));
    }

    #[test]
    fn repeated_genes_and_keys_and_no_sets_are_refused_and_empty_sets_are_not() {
        let data = data_of(2, 3, count);
        let twice = AnnData {
            var: Frame::in_memory(vec!["g".into(), "g".into(), "h".into()], vec![]).expect("three"),
            ..data.clone()
        };
        assert!(concat(&[data.clone(), twice.clone()], &Concat::default()).is_err());
        assert_eq!(concat(&[twice.clone(), twice], &Concat::default()).expect("the same genes").x.shape(), (4, 3));
        assert!(concat(&[], &Concat::default()).is_err());
        for keys in [vec!["a".to_string()], vec!["a".into(), "a".into()]] {
            assert!(concat(&[data.clone(), data.clone()], &Concat { keys: Some(keys), ..Default::default() }).is_err());
        }
        let none = AnnData { obs: frame("cell", 0), ..data_of(0, 3, count) };
        let all = concat(&[none, data.clone()], &Concat::default()).expect("two sets");
        assert_eq!(values(&cluster(1), &all.x), values(&cluster(1), &data.x));
    }
}
