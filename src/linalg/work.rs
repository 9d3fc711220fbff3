//! What is to be done with an array, as a value: a computation, reductions or a factorisation that can be written down and
//! run elsewhere.
//!
//! ```text
//!   Work + arrays ── to_bytes ──▶ bytes ── from_bytes ──▶ Work + arrays ── run ──▶ Answer
//! ```
//!
//! Always true: what is run from bytes runs the very functions that a program calls, and gives the same bits.

use serde::{Deserialize, Serialize};

use nalgebra::DMatrix;

use super::{
    GramEigh, Lanczos, LanczosOptions, Lstsq, LstsqOptions, Pca, PcaOptions, Qr, QrOptions, Svd, SvdCompressedOptions,
    SvdOptions, Tsqr, eigh_gram, gram, lanczos, lstsq, pca, qr, svd, svd_compressed, tsqr,
};
use crate::array::{Array, Block, Over, SourceAddress, Statistic, seal, unseal};
use crate::error::{Error, Result};
use crate::runtime::Cluster;

/// What is to be done with an array; with two for [`Lstsq`](Self::Lstsq).
///
/// Of options everything travels but who is told of the progress.
///
/// # Examples
///
/// ```
/// use allotment::linalg::{Answer, SvdOptions, Work};
/// use allotment::{Cluster, array::random, io};
/// let x = random::normal(1000, 4, 7, 100);
/// let bytes = Work::Svd(SvdOptions::default()).to_bytes(&[&x])?;
///
/// // In this process or another:
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let (work, arrays) = Work::from_bytes(&bytes, io::open_address)?;
/// let Answer::Svd(found) = work.run(&cluster, &arrays)? else { unreachable!("an SVD was asked for") };
/// assert_eq!(found.s.len(), 4);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Work {
    /// Bring the array home.
    Compute,
    /// Several statistics in one pass.
    Reduce(Vec<(Statistic, Over)>),
    /// R of the QR factorisation.
    Tsqr,
    /// The thin QR factorisation.
    Qr(QrOptions),
    /// The gram AᵀA.
    Gram,
    /// So many of the gram's largest eigenvalues, with their vectors.
    EighGram(usize),
    /// The thin SVD.
    Svd(SvdOptions),
    /// The first singular triplets, by a sketch.
    SvdCompressed(SvdCompressedOptions),
    /// The first singular triplets, by Lanczos.
    Lanczos(LanczosOptions),
    /// Principal components.
    Pca(PcaOptions),
    /// Least squares: the first array's columns, combined to come close to the second's.
    Lstsq(LstsqOptions),
}

/// What came out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Of [`Work::Compute`].
    Block(Block),
    /// Of [`Work::Reduce`], in the order of the questions.
    Numbers(Vec<Vec<f64>>),
    /// Of [`Work::Tsqr`].
    Tsqr(Tsqr),
    /// Of [`Work::Qr`].
    Qr(Qr),
    /// Of [`Work::Gram`].
    Gram(DMatrix<f64>),
    /// Of [`Work::EighGram`].
    EighGram(GramEigh),
    /// Of [`Work::Svd`] and [`Work::SvdCompressed`].
    Svd(Svd),
    /// Of [`Work::Lanczos`].
    Lanczos(Lanczos),
    /// Of [`Work::Pca`].
    Pca(Pca),
    /// Of [`Work::Lstsq`].
    Lstsq(Lstsq),
}

/// Work and the plans of its arrays.
#[derive(Serialize, Deserialize)]
struct Written {
    work: Work,
    arrays: Vec<Vec<u8>>,
}

impl Work {
    /// Returns the work's name.
    pub fn name(&self) -> &'static str {
        match self {
            Work::Compute => "compute",
            Work::Reduce(_) => "reduce",
            Work::Tsqr => "tsqr",
            Work::Qr(_) => "qr",
            Work::Gram => "gram",
            Work::EighGram(_) => "eigh_gram",
            Work::Svd(_) => "svd",
            Work::SvdCompressed(_) => "svd_compressed",
            Work::Lanczos(_) => "lanczos",
            Work::Pca(_) => "pca",
            Work::Lstsq(_) => "lstsq",
        }
    }

    /// Returns how many arrays it is done with.
    fn n_arrays(&self) -> usize {
        if matches!(self, Work::Lstsq(_)) { 2 } else { 1 }
    }

    fn check(&self, n_arrays: usize) -> Result<()> {
        if n_arrays == self.n_arrays() {
            return Ok(());
        }
        Err(Error::bad_argument(self.name(), "number of arrays", n_arrays, self.n_arrays().to_string()))
    }

    /// Writes the work and its arrays down.
    ///
    /// # Errors
    ///
    /// Those of [`Array::to_plan_bytes`]; [`Error::BadArgument`] for a wrong number of arrays.
    pub fn to_bytes(&self, arrays: &[&Array]) -> Result<Vec<u8>> {
        self.check(arrays.len())?;
        let arrays = arrays.iter().map(|array| array.to_plan_bytes()).collect::<Result<_>>()?;
        seal(&Written { work: self.clone(), arrays })
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `open` opens the files that it names.
    ///
    /// # Errors
    ///
    /// Those of [`Array::from_plan_bytes`]; [`Error::BadArgument`] for a wrong number of arrays.
    pub fn from_bytes(bytes: &[u8], open: impl Fn(&SourceAddress) -> Result<Array>) -> Result<(Work, Vec<Array>)> {
        let Written { work, arrays } = unseal(bytes)?;
        work.check(arrays.len())?;
        let arrays = arrays.iter().map(|array| Array::from_plan_bytes(array, &open)).collect::<Result<_>>()?;
        Ok((work, arrays))
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// Those of the function that it names; [`Error::BadArgument`] for a wrong number of arrays.
    pub fn run(&self, cluster: &Cluster, arrays: &[Array]) -> Result<Answer> {
        self.check(arrays.len())?;
        let a = &arrays[0];
        Ok(match self {
            Work::Compute => Answer::Block(a.compute(cluster)?),
            Work::Reduce(asked) => Answer::Numbers(a.reduce_many(cluster, asked, None)?),
            Work::Tsqr => Answer::Tsqr(tsqr(cluster, a, None)?),
            Work::Qr(options) => Answer::Qr(qr(cluster, a, options)?),
            Work::Gram => Answer::Gram(gram(cluster, a, None)?),
            Work::EighGram(k) => Answer::EighGram(eigh_gram(cluster, a, *k, None)?),
            Work::Svd(options) => Answer::Svd(svd(cluster, a, options)?),
            Work::SvdCompressed(options) => Answer::Svd(svd_compressed(cluster, a, options)?),
            Work::Lanczos(options) => Answer::Lanczos(lanczos(cluster, a, options)?),
            Work::Pca(options) => Answer::Pca(pca(cluster, a, options)?),
            Work::Lstsq(options) => Answer::Lstsq(lstsq(cluster, a, &arrays[1], options)?),
        })
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Work({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::random;
    use crate::linalg::Centre;
    use crate::runtime::Scheduler;

    fn nowhere(address: &SourceAddress) -> Result<Array> {
        Err(Error::bad_argument("test", "path", &address.path, "no file at all"))
    }

    fn every_work() -> Vec<(Work, Vec<Array>)> {
        let dense = random::normal(300, 8, 7, 64).scale_cols(&[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]).expect("eight");
        let sparse =
            dense.subtract(1.0).and_then(|x| x.clip(0.0, 9.0)).and_then(|x| x.to_csr()).expect("eight columns");
        let everything = [Statistic::Mean, Statistic::Var { ddof: 1 }, Statistic::Quantile(0.25), Statistic::ArgMax];
        let asked = everything.into_iter().flat_map(|s| [(s, Over::EachRow), (s, Over::EachColumn)]).collect();
        let compressed = SvdCompressedOptions { k: 3, compute_u: true, ..Default::default() };
        let centred = LanczosOptions { k: 3, centre: Centre::Mean, ..Default::default() };
        let components = PcaOptions { components: 3.into(), ..Default::default() };
        let single = [
            Work::Compute,
            Work::Reduce(asked),
            Work::Tsqr,
            Work::Qr(QrOptions::default()),
            Work::Gram,
            Work::EighGram(3),
            Work::Svd(SvdOptions { compute_u: true, ..Default::default() }),
            Work::SvdCompressed(compressed),
            Work::Lanczos(centred),
            Work::Pca(components),
        ];
        let of = |work: Work| [(work.clone(), vec![dense.clone()]), (work, vec![sparse.clone()])];
        let target = dense.select_columns(vec![7]).and_then(|x| x.add(0.5)).expect("a column");
        let squares = (Work::Lstsq(LstsqOptions::default()), vec![dense.clone(), target]);
        single.into_iter().flat_map(of).chain([squares]).collect()
    }

    /// Every number of an answer, what lies on the workers too.
    fn bits(answer: &Answer, cluster: &Cluster) -> Vec<u64> {
        let of_array = |array: &Array| array.compute(cluster).expect("small").to_vec::<f64>();
        let of_matrix = |matrix: &DMatrix<f64>| matrix.as_slice().to_vec();
        let numbers: Vec<f64> = match answer {
            Answer::Block(block) => block.to_vec(),
            Answer::Numbers(answers) => answers.concat(),
            Answer::Tsqr(found) => of_matrix(&found.r),
            Answer::Qr(found) => [of_array(&found.q), of_matrix(&found.r), vec![found.residual]].concat(),
            Answer::Gram(gram) => of_matrix(gram),
            Answer::EighGram(found) => {
                [found.values.clone(), of_matrix(&found.vectors), found.residuals.clone()].concat()
            }
            Answer::Svd(found) => {
                let u = found.u.as_ref().map(of_array).unwrap_or_default();
                [found.s.clone(), of_array(&found.vt), u, found.residuals.clone()].concat()
            }
            Answer::Lanczos(found) => [found.s.clone(), of_matrix(&found.vt), found.mean.clone()].concat(),
            Answer::Pca(found) => {
                let scores = of_array(&found.scores);
                [of_matrix(&found.components), scores, found.explained_variance.clone(), found.mean.clone()].concat()
            }
            Answer::Lstsq(found) => [of_matrix(&found.x), found.residuals.clone(), found.s.clone()].concat(),
        };
        numbers.into_iter().map(f64::to_bits).collect()
    }

    #[test]
    fn every_work_gives_the_same_bits_from_its_bytes_on_any_cluster() {
        let builder = || Cluster::builder().allowance(crate::ByteSize(64 << 20));
        let cluster = builder().workers(2).build().expect("sound settings");
        for (work, arrays) in every_work() {
            let expected = bits(&work.run(&cluster, &arrays).expect("sound"), &cluster);
            let bytes = work.to_bytes(&arrays.iter().collect::<Vec<_>>()).expect("it can travel");
            let others = [
                builder().workers(1).scheduler(Scheduler::Serial),
                builder().workers(3),
                builder().workers(1).allowance(crate::ByteSize(512 << 20)),
            ];
            for other in others {
                let other = other.build().expect("sound settings");
                let (work, arrays) = Work::from_bytes(&bytes, nowhere).expect("written above");
                let found = bits(&work.run(&other, &arrays).expect("sound"), &other);
                assert_eq!(found, expected, "{}", work.name());
            }
        }
    }

    #[test]
    fn a_wrong_number_of_arrays_and_an_array_alone_are_refused() {
        let x = random::normal(10, 2, 7, None);
        assert!(Work::Lstsq(LstsqOptions::default()).to_bytes(&[&x]).is_err());
        assert!(Work::Tsqr.to_bytes(&[&x, &x]).is_err());
        assert!(Work::from_bytes(&x.to_plan_bytes().expect("it can travel"), nowhere).is_err());
    }
}
