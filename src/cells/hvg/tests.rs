//! Every flavour against scanpy 1.12.4 on sixty cells of forty genes, some of which nobody expresses.
//!
//! ```python
//! i = numpy.arange(60)[:, None]; j = numpy.arange(40)[None, :]
//! counts = ((i * (j + 1) * 7 + i * i + 3 * j) % (j // 3 + 2) * (j % 4 + 1) * (i * j % 5 > 0)).astype(float)
//! counts[:, 7] = 0; counts[::2, 9] = 0                                        # logs = numpy.log1p(counts)
//! obs["b"] = numpy.where(i[:, 0] % 2 == 0, "even", "odd"); var_names = ["g0", "g1", ...]
//! scanpy.pp.highly_variable_genes(adata, inplace=False, ...).loc[["g1", "g9", "g33", "g39"]]
//! ```

use super::*;
use crate::bytes::ByteSize;

const SHOWN: [usize; 4] = [1, 9, 33, 39];

fn cluster(workers: usize, allowance: u64) -> Cluster {
    Cluster::builder().allowance(ByteSize(allowance)).workers(workers).build().expect("sound settings")
}

fn counts() -> Vec<f64> {
    let count = |i: usize, j: usize| match (i, j) {
        (_, 7) => 0,
        (i, 9) if i % 2 == 0 => 0,
        (i, j) if i * j % 5 > 0 => (i * (j + 1) * 7 + i * i + 3 * j) % (j / 3 + 2) * (j % 4 + 1),
        _ => 0,
    };
    (0..60 * 40).map(|at| count(at / 40, at % 40) as f64).collect()
}

fn data(values: Vec<f64>) -> AnnData {
    let x = Array::from_slice(60, 40, &values).expect("its values");
    let batch = Column::Strings((0..60).map(|i| Some(["even", "odd"][i % 2].to_string())).collect());
    let names = |n: usize, letter: &str| (0..n).map(|i| format!("{letter}{i}")).collect::<Vec<_>>();
    let obs = Frame::in_memory(names(60, "c"), vec![("b".to_string(), batch)]).expect("sixty cells");
    AnnData::new(x, obs, Frame::in_memory(names(40, "g"), vec![]).expect("forty genes")).expect("of one shape")
}

fn logs() -> AnnData {
    data(counts().into_iter().map(f64::ln_1p).collect())
}

/// Checks the selection and some numbers, dense and CSR, on several clusters and block grids.
fn check(data: &AnnData, asked: &HvgOptions, selected: &[u64], numbers: &[(&str, [f64; 4])]) {
    let csr = data.x.to_csr().expect("forty columns");
    for x in [data.x.clone(), csr.clone(), csr.with_block_rows(7)] {
        let data = AnnData { x, ..data.clone() };
        let found = highly_variable_genes(&cluster(2, 64 << 20), &data, asked).expect("sound data");
        assert_eq!(found.selected(), selected);
        for (name, expected) in numbers {
            let column = found.column(name).expect("it is there");
            for (gene, expected) in SHOWN.into_iter().zip(expected) {
                // Moments of sixty numbers through exponentials and logarithms, and scanpy's variance as a difference.
                let near = (column[gene] - expected).abs() <= 1e-11 * (1.0 + expected.abs());
                assert!(
                    near || column[gene].is_nan() && expected.is_nan(),
                    "{name} {gene}: {} {expected}",
                    column[gene]
                );
            }
        }
    }
}

#[test]
fn seurat_selects_within_its_cut_offs_whatever_the_logarithms_base() {
    let asked = HvgOptions { n_bins: 5, max_mean: 9.0, min_disp: 0.2, ..Default::default() };
    let selected = [3, 4, 11, 12, 18, 21, 26, 29, 34, 36, 37, 39];
    let numbers = [
        ("means", [0.5877866649021191, 0.9555114450274363, 1.9740810260220096, 3.0317427110770243]),
        ("dispersions", [0.19912867511033575, 1.2405825499384966, 1.7783660023433259, 2.319031786004668]),
        ("dispersions_norm", [-0.8660254037844384, -0.1336462418986249, 0.022018025220555137, 0.8588463688299038]),
    ];
    check(&logs(), &asked, &selected, &numbers);
    let mut of_base_two = logs();
    of_base_two.x = of_base_two.x.scale(1.0 / 2f64.ln());
    check(&of_base_two, &HvgOptions { log1p_base: Some(2.0), ..asked.clone() }, &selected, &numbers);
    of_base_two.uns.insert("log1p".into(), Value::group([("base", 2.0.into())]));
    check(&of_base_two, &asked, &selected, &numbers);
}

#[test]
fn seurat_joins_batches_of_which_some_lack_a_gene() {
    let cut_offs =
        HvgOptions { n_bins: 5, max_mean: 9.0, min_disp: 0.2, batch_key: Some("b".into()), ..Default::default() };
    let numbers = [
        ("means", [0.47775572251371823, 0.7175422626446614, 1.9730082023687778, 3.0317427110770243]),
        ("dispersions", [-0.4411945900992371, 0.31084410828889986, 1.7937971328136677, 2.336126219363968]),
        ("dispersions_norm", [-0.7413153245487346, -0.526260379339699, 0.5580772668193664, 0.7901552296105725]),
    ];
    check(&logs(), &cut_offs, &[3, 11, 18, 26, 33, 34, 36, 37, 39], &numbers);
    let top = HvgOptions { n_top_genes: Some(8), n_bins: 5, batch_key: Some("b".into()), ..Default::default() };
    check(&logs(), &top, &[3, 11, 18, 26, 33, 34, 37, 39], &numbers);
    let found = highly_variable_genes(&cluster(1, 64 << 20), &logs(), &cut_offs).expect("sound data");
    let n_batches = found.n_batches.clone().expect("two batches");
    assert_eq!(SHOWN.map(|gene| n_batches[gene]), [0, 0, 2, 2]);
    let frame = found.to_frame((0..40).map(|i| i.to_string()).collect()).expect("forty names");
    assert_eq!(frame.columns()[4..], ["highly_variable_nbatches", "highly_variable_intersection"]);
    let everywhere = frame.column("highly_variable_intersection").expect("there");
    assert_eq!((everywhere.text(9).as_deref(), everywhere.text(39).as_deref()), (Some("false"), Some("true")));
}

#[test]
fn cell_ranger_takes_the_logarithms_as_they_are() {
    // Genes that nobody expresses left out first: scanpy refuses percentiles that are equal.
    let all = logs();
    let there =
        [1, 3, 4, 6, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21, 22, 23, 24, 26, 27, 28, 29, 31, 32, 33, 34, 36, 37];
    let there: Vec<u64> = there.into_iter().chain([38, 39]).collect();
    let names = Frame::in_memory(there.iter().map(|gene| format!("g{gene}")).collect(), vec![]).expect("names");
    let x = all.x.select_columns(there.clone()).expect("there");
    let data = AnnData::new(x, all.obs.clone(), names).expect("of one shape");
    let asked = HvgOptions { flavor: HvgFlavor::CellRanger, n_top_genes: Some(10), ..Default::default() };
    let found = highly_variable_genes(&cluster(1, 64 << 20), &data, &asked).expect("sound data");
    let selected: Vec<u64> = found.selected().into_iter().map(|at| there[at as usize]).collect();
    assert_eq!(selected, [4, 6, 12, 21, 23, 26, 29, 31, 34, 37]);
    let at = |gene| there.iter().position(|there| *there == gene).expect("there");
    // A median deviation of five numbers is one of their differences; scanpy rounds it once more or less.
    assert!((found.column("dispersions_norm").expect("there")[at(33)] + NORMAL).abs() < 1e-12);
    assert!((found.column("means").expect("there")[at(39)] - 2.51610938878617).abs() < 1e-13);
}

/// What a gene one median deviation below the median is normalised to, turned.
const NORMAL: f64 = 0.6744897501960817;

#[test]
fn seurat_v3_ranks_counts_by_what_their_means_lead_one_to_expect() {
    let v3 = HvgOptions { flavor: HvgFlavor::SeuratV3, n_top_genes: Some(8), span: 0.8, ..Default::default() };
    let (means, variances) = (
        ("means", [0.8, 1.6, 6.2, 19.733333333333334]),
        ("variances", [0.9762711864406779, 5.532203389830507, 36.705084745762704, 200.60564971751404]),
    );
    let norm = ("variances_norm", [0.7090671941516663, 1.2602096008265675, 1.1188876097859004, 1.1051625766458708]);
    let rank = ("highly_variable_rank", [f64::NAN, 5.0, f64::NAN, f64::NAN]);
    check(&data(counts()), &v3, &[3, 4, 9, 11, 12, 26, 34, 36], &[means, variances, norm, rank]);

    let batched = HvgOptions { batch_key: Some("b".into()), ..v3 };
    // Of g33 what scikit-misc gives for exact means; scanpy's own differ in the last bit, which parts two genes whose means tie,
    // moves a vertex and gives 1.15514.
    let norm = ("variances_norm", [0.10852573143134386, 0.2811715658876435, 1.1553544408580565, 1.2507629838299774]);
    let rank = ("highly_variable_rank", [f64::NAN, f64::NAN, f64::NAN, 4.0]);
    check(&data(counts()), &batched, &[3, 6, 11, 13, 26, 36, 37, 39], &[means, variances, norm, rank]);
    let paper = HvgOptions { flavor: HvgFlavor::SeuratV3Paper, ..batched };
    check(&data(counts()), &paper, &[3, 6, 11, 13, 26, 34, 36, 39], &[means, variances, norm, rank]);
}

#[test]
fn workers_and_allowances_change_no_bit_and_the_plan_says_how_often_data_are_read() {
    let data = data(counts());
    for flavor in [HvgFlavor::Seurat, HvgFlavor::CellRanger, HvgFlavor::SeuratV3] {
        let asked = HvgOptions { flavor, n_top_genes: Some(8), span: 0.8, ..Default::default() };
        let plan = asked.plan(&cluster(1, 64 << 20), &data).expect("it fits");
        assert_eq!(plan.passes, if flavor.takes_counts() { 2 } else { 1 }, "{plan}");
        let bits = |workers, allowance| {
            let found = highly_variable_genes(&cluster(workers, allowance), &data, &asked).expect("it fits");
            found.numbers.into_iter().flat_map(|(_, values)| values).map(f64::to_bits).collect::<Vec<_>>()
        };
        let first = bits(1, 64 << 20);
        assert_eq!(bits(3, 64 << 20), first);
        assert_eq!(bits(2, 90_000), first);
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_what_are_no_counts_is_said() {
    let cluster = cluster(1, 64 << 20);
    let refused = |data: &AnnData, asked: HvgOptions| {
        highly_variable_genes(&cluster, data, &asked).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let sound = logs();
    assert!(refused(&sound, HvgOptions { n_top_genes: Some(0), ..Default::default() }).contains("n_top_genes"));
    assert!(refused(&sound, HvgOptions { n_bins: 0, ..Default::default() }).contains("n_bins"));
    assert!(refused(&sound, HvgOptions { log1p_base: Some(1.0), ..Default::default() }).contains("log1p_base"));
    assert!(refused(&sound, HvgOptions { batch_key: Some("none".into()), ..Default::default() }).contains("\"none\""));
    let mut values = counts();
    values[41] = f64::NAN;
    assert!(refused(&data(values), HvgOptions::default()).contains("gene 1 (\"g1\")"));
    let v3 = HvgOptions { flavor: HvgFlavor::SeuratV3, n_top_genes: Some(8), span: 0.8, ..Default::default() };
    let found = highly_variable_genes(&cluster, &sound, &v3).expect("it is only a warning");
    assert_eq!(found.are_counts, Some(false));
    let empty = AnnData { x: sound.x.select_rows(Vec::<u64>::new()).expect("none"), ..sound };
    let none = AnnData { obs: Frame::in_memory(vec![], vec![]).expect("no cell"), ..empty };
    let found = highly_variable_genes(&cluster, &none, &HvgOptions::default()).expect("no cell");
    assert!(found.selected().is_empty());
    let found = highly_variable_genes(&cluster, &none, &v3).expect("no cell");
    assert_eq!(found.column("variances_norm").map(<[f64]>::len), Some(none.n_vars() as usize));
}
