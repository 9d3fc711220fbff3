//! Plans against what runs report, and what plans refuse.

use super::*;
use crate::array::random;
use crate::bytes::ByteSize;
use crate::linalg::{Pca, PcaOptions, PcaSolver, eigh_gram, pca, svd, tsqr};
use crate::runtime::RunReport;

fn cluster(allowance: u64) -> Cluster {
    Cluster::builder().allowance(ByteSize(allowance)).workers(1).build().expect("sound settings")
}

/// Runs something on a fresh cluster and compares what was planned with the reports of its runs.
fn is_as_planned<T>(what: &str, plan: impl Fn(&Cluster) -> Result<Plan>, run: impl Fn(&Cluster) -> Result<T>) -> T {
    let cluster = cluster(64 << 20);
    let plan = plan(&cluster).expect("it fits");
    assert!(cluster.runs().is_empty(), "{what}: a plan computes nothing");
    let found = run(&cluster).expect("it fits");
    let runs = cluster.runs();
    let told = plan.compare_all(&runs);
    let projected = runs.iter().map(|run: &RunReport| run.projected_bytes).max().unwrap_or(0);
    let read = told.bytes_read.unwrap_or(0);
    if plan.is_bound {
        assert!(told.tasks <= plan.tasks && read <= plan.bytes_read, "{what}: {told}");
        assert!(projected <= plan.projected_bytes, "{what}: {projected} of {plan}");
    } else {
        assert_eq!(
            (told.tasks, read, projected),
            (plan.tasks, plan.bytes_read, plan.projected_bytes),
            "{what}: {told}"
        );
        assert!(runs.iter().all(|run| plan.steps.contains(&run.name)), "{what}: {runs:?} {:?}", plan.steps);
    }
    found
}

/// In memory, so that reading counts; on a given grid, on the plan's and as CSR.
fn arrays() -> Vec<Array> {
    let values = random::uniform(3000, 12, 1, None).compute(&cluster(64 << 20)).expect("small");
    let x = Array::from_block(values);
    vec![x.clone().with_block_rows(500), x.clone(), x.to_csr().expect("few columns")]
}

#[test]
fn the_plan_of_a_factorisation_is_what_its_runs_ask_for() {
    for x in arrays() {
        let options = QrOptions::default();
        is_as_planned("qr", |c| options.plan(c, &x), |c| super::super::qr(c, &x, &options));
        is_as_planned("tsqr", |c| plan_tsqr(c, &x), |c| tsqr(c, &x, None));
        is_as_planned("gram", |c| plan_gram(c, &x), |c| super::super::gram(c, &x, None));
        is_as_planned("eigh_gram", |c| plan_eigh_gram(c, &x, 3), |c| eigh_gram(c, &x, 3, None));
        let (b, options) = (random::uniform(3000, 2, 2, None), LstsqOptions::default());
        is_as_planned("lstsq", |c| options.plan(c, &x, &b), |c| super::super::lstsq(c, &x, &b, &options));
        for (a, solver) in [(x.clone(), SvdSolver::Tsqr), (x.transpose(), SvdSolver::Tsqr), (x, SvdSolver::Gram)] {
            let options = SvdOptions { solver, ..Default::default() };
            is_as_planned("svd", |c| options.plan(c, &a), |c| svd(c, &a, &options));
        }
    }
}

#[test]
fn the_plan_of_an_iteration_is_a_bound_that_it_keeps() {
    for x in arrays() {
        for centre in [Centre::Nothing, Centre::Mean] {
            let options = LanczosOptions { k: 3, centre, ..Default::default() };
            let found = is_as_planned("lanczos", |c| options.plan(c, &x), |c| super::super::lanczos(c, &x, &options));
            assert!(found.passes < 20, "far fewer than the bound");
        }
        // Values that need a factor, so that the first pass is made twice.
        for x in [x.clone(), x.scale(1e-120)] {
            let options = SvdCompressedOptions { k: 3, ..Default::default() };
            let run = |c: &Cluster| super::super::svd_compressed(c, &x, &options);
            is_as_planned("svd_compressed", |c| options.plan(c, &x), run);
        }
    }
}

#[test]
fn the_plan_of_principal_components_is_that_of_its_solver_and_of_the_scores() {
    for x in arrays() {
        for solver in [PcaSolver::CovarianceEigh, PcaSolver::Lanczos, PcaSolver::Randomized] {
            let options = PcaOptions { components: 3.into(), solver, ..Default::default() };
            let found: Pca = is_as_planned(solver.name(), |c| options.plan(c, &x), |c| pca(c, &x, &options));
            assert_eq!(options.settled_solver(&x).expect("sound"), found.solver);
        }
        let options = PcaOptions { components: 0.5.into(), ..Default::default() };
        is_as_planned("a share", |c| options.plan(c, &x), |c| pca(c, &x, &options));
    }
}

#[test]
fn what_cannot_fit_is_refused_with_what_would_before_any_work() {
    let refused = |cluster: &Cluster, plan: Result<Plan>, remedy: &str| {
        let error = plan.expect_err("it cannot fit").to_string();
        assert!(error.contains(remedy) && error.contains("an allowance of at least"), "{error}");
        assert!(cluster.runs().is_empty());
    };
    let small = cluster(64 << 20);
    let wide = random::uniform(100_000, 5000, 1, None);
    refused(&small, SvdOptions::default().plan(&small, &wide), "select fewer columns");
    let options = PcaOptions { components: 3.into(), ..Default::default() };
    refused(&small, options.plan(&small, &wide), "--solver lanczos");
    // 1000² numbers are 8 MB: reflections take 56 MiB and their SVD more, a gram and its eigenvectors about 40.
    let moderate = random::uniform(20_000, 1000, 1, None);
    refused(&small, SvdOptions::default().plan(&small, &moderate), "--solver gram");
    let by_gram = SvdOptions { solver: SvdSolver::Gram, ..Default::default() };
    assert!(by_gram.plan(&small, &moderate).is_ok());
    let by_r = PcaOptions { solver: PcaSolver::Tsqr, ..options };
    refused(&small, by_r.plan(&small, &moderate), "--solver covariance");
    refused(&small, QrOptions::default().plan(&small, &moderate), "select fewer columns");
}
