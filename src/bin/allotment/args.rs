//! What the command line may say: one struct per command, and the settings that all of them share.
//!
//! clap checks the words; what depends on the file (how many components it can have) is checked where the file is
//! open. Help texts end with an example that can be pasted.

use std::path::PathBuf;

use allotment::ByteSize;
use allotment::linalg::{Components, PcaSolver, SvdSolver};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "allotment",
    version,
    about = "Looks into, converts and factorises matrices larger than memory, on this machine's cores",
    after_help = "Examples:\n  allotment info cells.h5ad\n  allotment convert cells.h5ad cells.zarr\n  allotment pca cells.h5ad --normalize 1e4 --log1p --plot pca.svg\n  allotment svd --random 2000000x100 --json\n\n'allotment COMMAND --help' tells more.",
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Info(InfoArgs),
    Convert(crate::convert::ConvertArgs),
    Sample(crate::sample::SampleArgs),
    Stats(crate::stats::StatsArgs),
    Qc(crate::qc::QcArgs),
    Pca(PcaArgs),
    Svd(SvdArgs),
    Hvg(crate::hvg::HvgArgs),
    Pipeline(crate::pipeline::PipelineArgs),
    Knn(crate::knn::KnnArgs),
}

/// Settings that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings of every command")]
pub(crate) struct Shared {
    /// Bytes that each worker may hold, such as 512MiB [default: shared out by what the host can give]
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) allowance: Option<ByteSize>,
    /// Number of workers [default: by cores and memory]
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one)]
    pub(crate) workers: Option<usize>,
    /// Where tasks run
    #[arg(long, global = true, value_enum, default_value_t = SchedulerChoice::Threads)]
    pub(crate) scheduler: SchedulerChoice,
    /// Print one JSON object on stdout, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress and no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// Where tasks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchedulerChoice {
    /// On one thread, in order
    Serial,
    /// On one lane per worker
    Threads,
}

/// How principal components are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SolverChoice {
    /// Covariance up to 5000 columns, else lanczos; the allowance has no say
    Auto,
    /// Eigenvectors of the covariance; holds columns x columns numbers
    Covariance,
    /// Iterates to full accuracy without a covariance, for 10 000 columns and more
    Lanczos,
    /// Iterates to a thousandth of each deviation, in fewer passes
    Randomized,
    /// SVD through QR of the centred matrix, for the smallest variances; holds columns x columns numbers
    Tsqr,
}

impl From<SolverChoice> for PcaSolver {
    fn from(choice: SolverChoice) -> Self {
        match choice {
            SolverChoice::Auto => PcaSolver::Auto,
            SolverChoice::Covariance => PcaSolver::CovarianceEigh,
            SolverChoice::Lanczos => PcaSolver::Lanczos,
            SolverChoice::Randomized => PcaSolver::Randomized,
            SolverChoice::Tsqr => PcaSolver::Tsqr,
        }
    }
}

/// What an SVD goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SvdSolverChoice {
    /// R of the matrix; small singular values are as good as large ones
    Tsqr,
    /// The gram, in fewer bytes; singular values below a ten millionth of the largest are lost
    Gram,
}

impl From<SvdSolverChoice> for SvdSolver {
    fn from(choice: SvdSolverChoice) -> Self {
        match choice {
            SvdSolverChoice::Tsqr => SvdSolver::Tsqr,
            SvdSolverChoice::Gram => SvdSolver::Gram,
        }
    }
}

/// Shows what a file holds, without reading its values.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  allotment info bench-data/neurons10k_csr_u16.h5ad")]
pub(crate) struct InfoArgs {
    /// A .h5ad, .h5, .zarr, .zarr.zip, .mtx or .npy file, or a folder of Cell Ranger
    pub(crate) file: PathBuf,
}

/// Finds the principal components of a file's rows.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  allotment pca bench-data/neurons10k_csr_u16.h5ad --normalize 1e4 --log1p --plot pca.svg"
)]
pub(crate) struct PcaArgs {
    /// A .h5ad or .npy file; rows are cells
    pub(crate) file: PathBuf,
    /// How many components, or the share of the variance that they hold, such as 0.9 [default: 50, or as many as the
    /// matrix has]
    #[arg(long, short = 'k', value_name = "K|SHARE", value_parser = components)]
    pub(crate) components: Option<Components>,
    /// How the components are found
    #[arg(long, value_enum, default_value_t = SolverChoice::Auto)]
    pub(crate) solver: SolverChoice,
    /// Show what it would take, and stop
    #[arg(long, conflicts_with_all = ["out", "plot"])]
    pub(crate) plan: bool,
    /// Rows that are worked on at once [default: by the data, about 2 MiB]
    #[arg(long, value_name = "ROWS", value_parser = at_least_one)]
    pub(crate) chunk_rows: Option<usize>,
    /// First scale every row to this sum
    #[arg(long, value_name = "SUM", value_parser = positive)]
    pub(crate) normalize: Option<f64>,
    /// First replace every value x by ln(1 + x), after --normalize
    #[arg(long)]
    pub(crate) log1p: bool,
    /// Use only the columns that FILE lists, a gene name (or for .npy a number from 0) a line
    #[arg(long, value_name = "FILE")]
    pub(crate) genes: Option<PathBuf>,
    /// Draw components 1 and 2 as a picture
    #[arg(long, value_name = "FILE.svg", value_parser = svg_path)]
    pub(crate) plot: Option<PathBuf>,
    /// Colour the picture by this obs column [default: the first categorical one]
    #[arg(long, value_name = "COLUMN", requires = "plot")]
    pub(crate) color: Option<String>,
    /// Write annotated data with X_pca and PCs (.h5ad or .zarr), or scores.npy, components.npy and explained_variance.npy
    /// into a directory
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) more: crate::pca_out::MoreArgs,
}

/// Finds the singular values of a matrix.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  allotment svd --random 2000000x100 --chunk-rows 10000 --seed 1 --allowance 64MiB")]
pub(crate) struct SvdArgs {
    /// A .h5ad or .npy file
    #[arg(required_unless_present = "random", conflicts_with = "random")]
    pub(crate) file: Option<PathBuf>,
    /// Uniform random numbers of this shape instead of a file
    #[arg(long, value_name = "ROWSxCOLS", value_parser = shape)]
    pub(crate) random: Option<(u64, u64)>,
    /// What it goes through
    #[arg(long, value_enum, default_value_t = SvdSolverChoice::Tsqr)]
    pub(crate) solver: SvdSolverChoice,
    /// Show what it would take, and stop
    #[arg(long, conflicts_with = "out")]
    pub(crate) plan: bool,
    /// Rows that are worked on at once [default: by the data, about 2 MiB]
    #[arg(long, value_name = "ROWS", value_parser = at_least_one)]
    pub(crate) chunk_rows: Option<usize>,
    /// Seed of the random numbers [default: 0]
    #[arg(long, conflicts_with = "file")]
    pub(crate) seed: Option<u64>,
    /// Also write u.npy, which has as many rows as the matrix
    #[arg(long, requires = "out")]
    pub(crate) vectors: bool,
    /// Write s.npy and vt.npy into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.replace('_', "").parse() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err("expected a whole number of at least 1".into()),
    }
}

fn components(text: &str) -> Result<Components, String> {
    if let Ok(k) = at_least_one(text) {
        return Ok(Components::Count(k));
    }
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(Components::Variance(share)),
        _ => Err("expected a whole number of at least 1, or a share of the variance between 0 and 1".into()),
    }
}

pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        _ => Err("expected a number above 0, such as 1e4".into()),
    }
}

fn shape(text: &str) -> Result<(u64, u64), String> {
    let refuse = || "expected ROWSxCOLS with both at least 1, such as 2000000x100".to_owned();
    let (rows, cols) = text.split_once(['x', 'X']).ok_or_else(refuse)?;
    let side = |text: &str| text.replace('_', "").parse::<u64>().ok().filter(|n| *n >= 1).ok_or_else(refuse);
    let (rows, cols) = (side(rows)?, side(cols)?);
    // More elements than 2^60 have no size in bytes that a program could ask for.
    rows.checked_mul(cols).filter(|n| *n <= 1 << 60).ok_or("expected at most 2^60 elements")?;
    Ok((rows, cols))
}

pub(crate) fn svg_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("svg") => Ok(path),
        _ => Err("expected a name that ends in .svg, the format that is drawn".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_command_shows_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{} has no example:\n{help}", command.get_name());
        }
    }

    #[test]
    fn the_examples_of_the_help_texts_parse() {
        for example in [
            "allotment info cells.h5ad",
            "allotment convert cells.h5ad cells.zarr --compression zstd=3",
            "allotment sample cells.h5ad -s 0.01 --seed 7 --out small.h5ad",
            "allotment stats cells.h5ad --by cluster,donor --stats n_obs,mean,present --threshold -1 --out clusters.zarr",
            "allotment qc cells.h5ad --qc-vars mt-,rp --plot qc.svg --out checked.h5ad",
            "allotment pca cells.h5ad --normalize 1e4 --log1p --plot pca.svg",
            "allotment pca cells.h5ad --components 0.9 --solver tsqr",
            "allotment pca cells.h5ad --chunk-rows 1000 --plan",
            "allotment svd cells.npy --solver gram --plan --json",
            "allotment svd --random 2000000x100 --chunk-rows 10000 --seed 1 --allowance 64MiB",
        ] {
            Cli::try_parse_from(example.split(' ')).expect(example);
        }
    }

    #[test]
    fn components_are_a_whole_number_or_a_share() {
        assert_eq!(components("50"), Ok(Components::Count(50)));
        assert_eq!(components("0.9"), Ok(Components::Variance(0.9)));
        for wrong in ["0", "1.0", "1.5", "-3", "nan", "many", ""] {
            assert!(components(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_may_stand_before_or_after_the_command() {
        for line in ["allotment --json --workers 2 info f", "allotment info f --json --workers 2"] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert!(cli.shared.json && cli.shared.workers == Some(2));
        }
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for line in [
            "allotment pca f --components 0",
            "allotment pca f --components ten",
            "allotment pca f --normalize -1",
            "allotment pca f --normalize inf",
            "allotment pca f --plot pca.png",
            "allotment pca f --color phase",
            "allotment convert f",
            "allotment convert f g.zarr --dense --csr",
            "allotment convert f g.zarr --compression lzf",
            "allotment convert f g.zarr --dtype complex64",
            "allotment sample f -s 2",
            "allotment sample f -s 0.1 --cells 5",
            "allotment stats f",
            "allotment stats f --by a --stats mode",
            "allotment stats f --by a --threshold nan",
            "allotment qc f --plot qc.png",
            "allotment svd",
            "allotment svd f --random 10x2",
            "allotment svd f --seed 1",
            "allotment svd f --vectors",
            "allotment svd --random 10",
            "allotment svd f --plan --out d",
            "allotment pca f --plan --plot p.svg",
            "allotment svd --random 0x3",
            "allotment svd --random 9999999999999x9999999999999",
            "allotment info f --allowance many",
            "allotment info f --workers 0",
            "allotment info f --scheduler dask",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn shapes_are_read_with_separators_in_the_numbers() {
        assert_eq!(shape("2_000_000x100"), Ok((2_000_000, 100)));
        assert_eq!(shape("3X2"), Ok((3, 2)));
    }
}
