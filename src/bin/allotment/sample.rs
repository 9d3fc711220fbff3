//! `allotment sample`: some rows and columns of a file, drawn at random, with all that belongs to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::cells::{self, Amount, Sample};
use clap::Args;
use serde::Serialize;

use crate::args::Shared;
use crate::convert::size_of;
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::{self, Report};
use crate::plot::with_commas;
use crate::session::{Cost, Session};
use crate::target::{Ending, Target, WriteArgs, annotated};

/// Draws cells and genes at random and writes them, with all that belongs to them.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  allotment sample bench-data/neurons10k_csr_u16.h5ad -s 0.01 --seed 7 --out small.h5ad\n  allotment sample bench-data/neurons10k_csr_u16.h5ad --cells 500 --genes 0.5 --out few.zarr"
)]
pub(crate) struct SampleArgs {
    /// A .h5ad, .h5, .zarr, .zarr.zip, .mtx or .npy file, or a folder of Cell Ranger
    pub(crate) file: PathBuf,
    /// Keep this share of the matrix' area: the square root of it of the rows, and of the columns
    #[arg(long, short = 's', value_name = "SHARE", value_parser = share, conflicts_with_all = ["cells", "genes"])]
    pub(crate) share: Option<Share>,
    /// How many cells, as a number or a share below 1 [default: all]
    #[arg(long, value_name = "N|SHARE", value_parser = amount)]
    pub(crate) cells: Option<Amount>,
    /// How many genes, as a number or a share below 1 [default: all]
    #[arg(long, value_name = "N|SHARE", value_parser = amount)]
    pub(crate) genes: Option<Amount>,
    /// The same seed draws the same cells and genes
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Let a cell or gene be drawn more than once
    #[arg(long)]
    pub(crate) replace: bool,
    /// A name that ends in .h5ad, .zarr or .npy [default: beside the file, as in cells.sample-0.01.h5ad]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// A share of an area, and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    value: f64,
    text: String,
}

#[derive(Serialize)]
struct SampleReport {
    file: String,
    shape_before: [u64; 2],
    shape: [u64; 2],
    seed: u64,
    content: &'static str,
    written_bytes: Option<u64>,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

/// Draws and writes.
pub(crate) fn run(args: &SampleArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    let drawn = match (&args.share, args.cells, args.genes) {
        (Some(share), ..) => Sample { replace: args.replace, ..Sample::of_area(share.value, args.seed) },
        (None, None, None) => {
            return Err(Failure::Usage("how much to keep is not said; use -s SHARE, or --cells and --genes".into()));
        }
        (None, cells, genes) => Sample { cells, genes, replace: args.replace, seed: args.seed },
    };
    let out = args.out.clone().unwrap_or_else(|| default_name(&args.file, args.share.as_ref()));
    let target = Target::check(&out, &args.file, &args.write)?;
    let input = Input::open(&args.file)?;
    let session = Session::start(shared, interrupt, &args.file)?;
    let kept = cells::sample(&annotated(&input)?, &drawn).map_err(|e| session.fail(e))?;
    let mut kept = Input { x: kept.x.clone(), anndata: Some(kept) };
    target.fitting(&mut kept, &session)?;
    let content = target.write(&kept, &session)?;
    let (before, after) = (input.x.shape(), kept.x.shape());
    let report = SampleReport {
        file: args.file.display().to_string(),
        shape_before: [before.0, before.1],
        shape: [after.0, after.1],
        seed: args.seed,
        content,
        written_bytes: size_of(&out),
        cost: session.cost(),
        written: vec![out.display().to_string()],
    };
    output::print(&report, shared.json)
}

/// Returns a name beside the file: its own, what was drawn, and its ending where that is written.
fn default_name(file: &Path, share: Option<&Share>) -> PathBuf {
    let ending = match Ending::of(file) {
        Some(_) => file.extension().unwrap_or_default().to_string_lossy().into_owned(),
        None => "h5ad".into(),
    };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let drawn = share.map_or("sample".into(), |share| format!("sample-{}", share.text));
    file.with_file_name(format!("{stem}.{drawn}.{ending}"))
}

impl Report for SampleReport {
    fn text(&self) -> String {
        let ([rows, cols], [all_rows, all_cols]) = (self.shape.map(with_commas), self.shape_before.map(with_commas));
        let text = format!(
            "{}: {rows} x {cols} of {all_rows} x {all_cols}, drawn with seed {}\n\n{}",
            self.file,
            self.seed,
            self.cost.text()
        );
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}

fn share(text: &str) -> Result<Share, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(Share { value, text: text.into() }),
        _ => Err("expected a share above 0 and at most 1, such as 0.01".into()),
    }
}

fn amount(text: &str) -> Result<Amount, String> {
    if let Ok(number) = text.replace('_', "").parse() {
        return Ok(Amount::Number(number));
    }
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(Amount::Fraction(share)),
        _ => Err("expected a whole number, or a share such as 0.1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_says_what_was_drawn() {
        let (share, name) = (share("0.01").expect("a share"), |file: &str, share| default_name(Path::new(file), share));
        assert_eq!(name("d/cells.h5ad", Some(&share)), Path::new("d/cells.sample-0.01.h5ad"));
        assert_eq!(name("cells.zarr", None), Path::new("cells.sample.zarr"));
        assert_eq!(name("d/matrix.mtx", Some(&share)), Path::new("d/matrix.sample-0.01.h5ad"));
    }

    #[test]
    fn amounts_are_numbers_or_shares() {
        assert_eq!((amount("10_000"), amount("0.5")), (Ok(Amount::Number(10_000)), Ok(Amount::Fraction(0.5))));
        assert_eq!(amount("1"), Ok(Amount::Number(1)));
        for wrong in ["-1", "1.5", "nan", "", "many", "0.0"] {
            assert!(amount(wrong).is_err() && share(wrong).is_err(), "{wrong}");
        }
    }
}
