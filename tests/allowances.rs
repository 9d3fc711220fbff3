//! The same bits under any allowance, or a refusal before any work that says which allowance would do, and does.
//!
//! Nobody says how the data are cut: the grid must follow the data and the operation alone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/answers.rs"]
mod answers;

use allotment::array::{Array, Over, Statistic, random};
use allotment::linalg::{
    Centre, IncrementalPca, LanczosOptions, LstsqOptions, PcaOptions, PcaSolver, QrOptions, SvdCompressedOptions,
    SvdOptions, SvdSolver, Work,
};
use allotment::{ByteSize, Cluster, Error, Result};

use answers::bits_of;

const KIB: u64 = 1 << 10;
/// From too little for anything to plenty; close to each other where operations on so many columns begin to fit.
const ALLOWANCES_KIB: [u64; 12] = [128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 16_384, 65_536];
/// 2.9 MB: a dozen blocks.
const SHAPE: (u64, u64) = (6_011, 60);

fn cluster(allowance: u64) -> Cluster {
    Cluster::builder().allowance(ByteSize(allowance)).workers(2).overcommit(true).build().unwrap()
}

/// The data as dense and as CSR: normal numbers of falling scale, the CSR ones without what is below zero.
fn data() -> [(&'static str, Array); 2] {
    let scales: Vec<f64> = (0..SHAPE.1).map(|col| 0.9f64.powi(col as i32)).collect();
    let dense = random::normal(SHAPE.0, SHAPE.1, 7, None).scale_cols(&scales).unwrap();
    let csr = dense.clip(0.0, 9.0).unwrap().to_csr().unwrap();
    [("dense", dense), ("csr", csr)]
}

/// Compares the bits under each allowance with those under plenty; what is refused must run with what the refusal asks for.
fn no_allowance_changes_a_bit(name: &str, bits: impl Fn(&Cluster) -> Result<Vec<Vec<u64>>>) {
    let expected = bits(&cluster(1 << 30)).unwrap();
    let (mut n_run, mut n_refused) = (0, 0);
    for kib in ALLOWANCES_KIB {
        let mut allowance = kib * KIB;
        let found = loop {
            let cluster = cluster(allowance);
            match bits(&cluster) {
                Ok(found) => break found,
                Err(Error::TooBig { need, remedy, .. }) => {
                    assert!(need > allowance, "{name}: {need} of {allowance}");
                    assert!(remedy.contains("an allowance of at least "), "{name}: {remedy}");
                    let least = remedy.rsplit("at least ").next().and_then(|size| size.parse::<ByteSize>().ok());
                    let least = least.unwrap_or_else(|| panic!("{name}: {remedy}")).0;
                    assert!(least > allowance, "{name}: {remedy} with {}", ByteSize(allowance));
                    (allowance, n_refused) = (least, n_refused + 1);
                }
                Err(other) => panic!("{name} with {kib} KiB: {other}"),
            }
        };
        assert_eq!(found, expected, "{name} with {}", ByteSize(allowance));
        n_run += 1;
    }
    println!("allowances: {name}: {n_run} runs, {n_refused} refusals");
    assert!(n_refused > 0, "{name}: nothing is too little");
}

/// Work and its arrays.
type Case = (Work, Vec<Array>);

fn no_allowance_changes_a_bit_of(works: fn(&Array) -> Vec<Case>) {
    for (kind, x) in data() {
        for (work, arrays) in works(&x) {
            let name = format!("{kind}, {} of {:?}", work.name(), arrays[0].shape());
            no_allowance_changes_a_bit(&name, |cluster| bits_of(&work, &arrays, cluster));
        }
    }
}

#[test]
fn no_allowance_changes_a_bit_of_statistics_and_chains() {
    no_allowance_changes_a_bit_of(|x| {
        let all = [
            Statistic::Sum,
            Statistic::Var { ddof: 1 },
            Statistic::Max,
            Statistic::ArgMin,
            Statistic::CountNonzero,
            Statistic::Median,
        ];
        let overs = [Over::Whole, Over::EachRow, Over::EachColumn];
        let asked = overs.iter().flat_map(|over| all.map(|statistic| (statistic, *over))).collect();
        let product = x.dot(&random::uniform(SHAPE.1, 9, 1, None)).unwrap();
        vec![
            (Work::Reduce(asked), vec![x.clone()]),
            (Work::Compute, vec![product]),
            (Work::Compute, vec![x.transpose().dot(x).unwrap()]),
        ]
    });
}

#[test]
fn no_allowance_changes_a_bit_of_a_direct_factorisation() {
    no_allowance_changes_a_bit_of(|x| {
        let svd = |solver| Work::Svd(SvdOptions { solver, compute_u: true, ..Default::default() });
        let b = random::uniform(SHAPE.0, 2, 9, None);
        vec![
            (Work::Tsqr, vec![x.clone()]),
            (Work::Qr(QrOptions::default()), vec![x.clone()]),
            (Work::Gram, vec![x.clone()]),
            (Work::EighGram(3), vec![x.clone()]),
            (svd(SvdSolver::Tsqr), vec![x.clone()]),
            (svd(SvdSolver::Gram), vec![x.transpose()]),
            (Work::Lstsq(LstsqOptions::default()), vec![x.clone(), b.clone()]),
            (Work::Cross, vec![x.clone(), b]),
        ]
    });
}

#[test]
fn no_allowance_changes_a_bit_of_an_iteration_or_of_principal_components() {
    no_allowance_changes_a_bit_of(|x| {
        let sketch = SvdCompressedOptions { k: 3, ..Default::default() };
        let krylov = LanczosOptions { k: 3, tolerance: 1e-6, centre: Centre::Mean, ..Default::default() };
        let pca = |solver| Work::Pca(PcaOptions { components: 3.into(), solver, ..Default::default() });
        vec![
            (Work::SvdCompressed(sketch), vec![x.clone()]),
            (Work::Lanczos(krylov), vec![x.clone()]),
            (pca(PcaSolver::Auto), vec![x.clone()]),
            (pca(PcaSolver::Tsqr), vec![x.clone()]),
            (pca(PcaSolver::Randomized), vec![x.clone()]),
        ]
    });
}

#[test]
fn no_allowance_changes_a_bit_of_incremental_components() {
    for (kind, x) in data() {
        no_allowance_changes_a_bit(&format!("{kind}, incremental pca"), |cluster| {
            let mut pca = IncrementalPca::new(3)?;
            pca.fit_blocks(cluster, &x)?;
            let numbers = [pca.components().as_slice(), pca.singular_values(), &pca.mean()].concat();
            Ok(vec![numbers.iter().map(|number| number.to_bits()).collect()])
        });
    }
}
