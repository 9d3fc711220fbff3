//! What cells' operations give on a real file, beside what scanpy gives.
//!
//! The numbers were computed once with scanpy 1.12.4 from the same files in `float64`, as the comment at each says. A matrix is
//! compared by three sums that give away a value in the wrong place: of the values, of their squares, and weighted by
//! `(i mod 7 + 1) (j mod 5 + 1)`.

use allotment::array::{Array, DType};
use allotment::cells::{self, AnnData, CellLimits, Column, GeneLimits, NormalizeTotal, Scale};
use allotment::io::h5ad;
use allotment::{ByteSize, Cluster};

fn cluster() -> Cluster {
    Cluster::builder().allowance(ByteSize(256 << 20)).workers(2).build().expect("sound settings")
}

/// `n = anndata.read_h5ad(..); n.X = n.X.astype("float64")`
fn neurons() -> AnnData {
    let data = h5ad::open(concat!(env!("CARGO_MANIFEST_DIR"), "/bench-data/neurons10k_csr_u16.h5ad"));
    let data = data.expect("the file is in the tree");
    AnnData { x: data.x.astype(DType::F64), ..data }
}

fn sums(cluster: &Cluster, array: &Array) -> [f64; 3] {
    let (cols, mut sums, mut row) = (array.cols() as usize, [0.0; 3], 0);
    for block in array.blocks(cluster).expect("a sound array") {
        for values in block.expect("a sound block").to_vec::<f64>().chunks(cols) {
            for (col, value) in values.iter().enumerate() {
                let weight = ((row % 7 + 1) * (col % 5 + 1)) as f64;
                sums = [sums[0] + value, sums[1] + value * value, sums[2] + value * weight];
            }
            row += 1;
        }
    }
    sums
}

/// Ten million additions in another order: 10⁷ ε at the very worst, and that is 2 · 10⁻⁹.
fn assert_near(found: &[f64], expected: &[f64]) {
    let near = |a: f64, b: f64| (a - b).abs() <= 2e-9 * b.abs();
    assert!(found.iter().zip(expected).all(|(a, b)| near(*a, *b)), "{found:?} {expected:?}");
}

#[test]
fn normalised_cells_are_scanpys() {
    let (cluster, data) = (cluster(), neurons());
    let of = |options: NormalizeTotal| sums(&cluster, &data.normalize_total(&cluster, &options).expect("counts").x);
    // sc.pp.normalize_total(n)
    assert_near(&of(NormalizeTotal::default()), &[1369863.0, 11400933.94505661, 18669111.645238567]);
    // sc.pp.normalize_total(n, target_sum=1e4)
    assert_near(&of(1e4.into()), &[99990000.0, 60743427700.23235, 1362708879.2144938]);
    // sc.pp.normalize_total(n, exclude_highly_expressed=True, max_fraction=.2)
    let options = NormalizeTotal { exclude_highly_expressed: true, max_fraction: 0.2, ..Default::default() };
    assert_near(&of(options), &[1384625.7594806713, 15780138.507956568, 18894954.356779646]);
}

#[test]
fn logarithms_and_scaled_genes_are_scanpys_dense_or_sparse() {
    let (cluster, data) = (cluster(), neurons());
    let logs = data.normalize_total(&cluster, &1e4.into()).and_then(|data| data.log1p(Some(2.0))).expect("counts");
    // sc.pp.normalize_total(n, target_sum=1e4); sc.pp.log1p(n, base=2)
    assert_near(&sums(&cluster, &logs.x), &[4499102.493542517, 30231415.93133542, 57034255.54678179]);
    // n.X = n.X.toarray(); sc.pp.scale(n, max_value=3)
    let expected = [-206798.75010104937, 2924756.7328913487, -2450886.59787036];
    for x in [logs.x.clone(), logs.x.to_dense()] {
        let options = Scale { max_value: Some(3.0), ..Default::default() };
        let scaled = cells::scale(&cluster, &x, &options).expect("logarithms");
        assert_near(&sums(&cluster, &scaled.to_dense().expect("alike")), &expected);
    }
    // sc.pp.scale(n, max_value=3, zero_center=False)
    let options = Scale { max_value: Some(3.0), zero_center: false, ..Default::default() };
    let scaled = logs.scale(&cluster, &options).expect("logarithms");
    assert_near(&sums(&cluster, &scaled.x), &[1677275.5376981173, 4212169.952743001, 21072021.79921314]);
}

#[test]
fn cells_and_genes_within_limits_are_scanpys() {
    let (cluster, data) = (cluster(), neurons());
    // sc.pp.filter_cells(n, min_genes=100); n.shape
    let limits = CellLimits { min_genes: Some(100), ..Default::default() };
    assert_eq!(data.filter_cells(&cluster, &limits).expect("counts").x.shape(), (1255, 1000));
    // sc.pp.filter_cells(n, min_counts=200); n.shape, n.obs["n_counts"].sum()
    let limits = CellLimits { min_counts: Some(200.0), ..Default::default() };
    let kept = data.filter_cells(&cluster, &limits).expect("counts");
    assert_eq!((kept.n_obs(), sum(&kept.obs.column("n_counts").expect("added"))), (2378, 702426.0));
    // sc.pp.filter_genes(n, min_cells=10); n.shape, n.var["n_cells"].sum()
    let limits = GeneLimits { min_cells: Some(10), ..Default::default() };
    let kept = data.filter_genes(&cluster, &limits).expect("counts");
    assert_eq!((kept.n_vars(), sum(&kept.var.column("n_cells").expect("added"))), (522, 691316.0));
}

fn sum(column: &Column) -> f64 {
    let Column::Numbers(numbers) = column else { panic!("{column:?} is no column of numbers") };
    numbers.to_f64().iter().filter(|value| !value.is_nan()).sum()
}

#[test]
fn figures_of_quality_are_scanpys() {
    let (cluster, mut data) = (cluster(), neurons());
    let is_a = data.var_names().expect("names").iter().map(|name| Some(name.starts_with('A'))).collect();
    data.var = data.var.with_column("mt", Column::Bools(is_a)).expect("a thousand genes");
    let options = cells::QcOptions { qc_vars: vec!["mt".into()], ..Default::default() };
    let found = cells::calculate_qc_metrics(&cluster, &data, &options).expect("counts");
    // n.var["mt"] = n.var_names.str.startswith("A"); sc.pp.calculate_qc_metrics(n, qc_vars=["mt"], inplace=True)
    // np.nansum(n.obs[name])
    let of_cells = [
        ("n_genes_by_counts", 691914.0),
        ("log1p_n_genes_by_counts", 41670.81262768692),
        ("total_counts", 1597698.0),
        ("log1p_total_counts", 49125.204233275945),
        ("pct_counts_in_top_50_genes", 895137.9682015004),
        ("pct_counts_in_top_100_genes", 993287.8121904432),
        ("pct_counts_in_top_200_genes", 999885.0928124001),
        ("pct_counts_in_top_500_genes", 999900.0),
        ("total_counts_mt", 74721.0),
        ("log1p_total_counts_mt", 19477.54231549653),
        ("pct_counts_mt", 47294.57259780026),
    ];
    // np.nansum(n.var[name])
    let of_genes = [
        ("n_cells_by_counts", 691914.0),
        ("mean_counts", 159.7698),
        ("log1p_mean_counts", 89.01743246247335),
        ("pct_dropout_by_counts", 93080.86),
        ("total_counts", 1597698.0),
        ("log1p_total_counts", 3522.225958699906),
    ];
    for (frame, expected) in [(&found.obs, &of_cells[..]), (&found.var, &of_genes[..])] {
        for (name, expected) in expected {
            assert_near(&[sum(&frame.column(name).expect("added"))], &[*expected]);
        }
    }
}

fn pbmc() -> (AnnData, Array) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/bench-data/pbmc68k_reduced.h5ad");
    let scores = h5ad::open_matrix(path, "obsm/X_pca").expect("the file holds a PCA");
    (h5ad::open(path).expect("the file is in the tree"), scores)
}

#[test]
fn components_of_the_variable_genes_are_scanpys() {
    let (cluster, (data, _)) = (cluster(), pbmc());
    let found = cells::pca(&cluster, &data, &cells::PcaOptions::default()).expect("scaled values");
    // sc.pp.pca(p, dtype="float64", svd_solver="covariance_eigh"); p.uns["pca"]["variance"][[0, 1, 2, 9, 49]], and the ratio
    let expected = [
        ("variance", [30.928072, 21.182444, 14.686355, 2.9111176, 1.4250863]),
        ("variance_ratio", [0.0977096, 0.0669207, 0.04639791, 0.009196957, 0.004502208]),
    ];
    for (name, expected) in expected {
        let Some(cells::Value::Numbers(tensor)) = found.uns["pca"].get(name) else { panic!("{name} is no vector") };
        for (place, expected) in [0, 1, 2, 9, 49].into_iter().zip(expected) {
            // scanpy multiplies these float32 values in float32.
            assert!((tensor.values.at(place) / expected - 1.0).abs() < 2e-5, "{name} {place}");
        }
    }
    // (p.varm["PCs"] == 0).all(axis=1).sum()
    let loadings = found.varm["PCs"].array().expect("numbers").compute(&cluster).expect("small").to_vec::<f64>();
    assert_eq!(loadings.chunks(50).filter(|row| row.iter().all(|value| *value == 0.0)).count(), 456);
}

#[test]
fn the_graph_of_neighbours_is_scanpys() {
    let (cluster, (mut data, scores)) = (cluster(), pbmc());
    data.obsm.insert("X_pca".into(), scores.into());
    // p.obsm["X_pca"] = p.obsm["X_pca"].astype("float64"); sc.pp.neighbors(p, n_neighbors=15, use_rep="X_pca", metric=metric)
    let cases = [
        (
            cells::Metric::Euclidean,
            [94236.83113828494, 1065073.422849856, 1108648.458853234],
            [4848.749078071793, 2652.4600827035947, 57907.710456517176],
        ),
        (
            cells::Metric::Cosine,
            [2952.3382536504805, 1029.619886036587, 35203.67989616725],
            [4631.59102925474, 2643.0528984168645, 56085.05895674713],
        ),
    ];
    for (metric, distances, weights) in cases {
        let options = cells::NeighborsOptions { metric, ..Default::default() };
        let found = cells::neighbors(&cluster, &data, &options).expect("seven hundred cells");
        assert_near(&sums(&cluster, &found.obsp["distances"]), &distances);
        let found = sums(&cluster, &found.obsp["connectivities"]);
        // UMAP searches its scales in float32, to 10⁻⁵ of a sum.
        assert!(found.iter().zip(&weights).all(|(a, b)| (a / b - 1.0).abs() < 1e-4), "{found:?} {weights:?}");
    }
}
