//! What `allotment pca` writes besides its table: three `.npy` files, annotated data as scanpy leaves it, an elbow.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::Error;
use allotment::array::DType;
use allotment::cells::{self, AnnData, Column, Genes};
use allotment::io::npy;
use allotment::linalg::Pca;
use clap::Args;

use crate::annotated::{self, check_target, is_annotated};
use crate::args::{PcaArgs, svg_path};
use crate::failure::Outcome;
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::staging::{Staging, check_place};
use crate::svd::save_array;

/// The column of var that marks the genes of `--genes`.
const MARK: &str = "pca_genes";

/// Further settings of `pca`.
#[derive(Args, Debug)]
pub(crate) struct MoreArgs {
    /// Draw the share of the variance that each component holds
    #[arg(long, value_name = "FILE.svg", value_parser = svg_path, conflicts_with = "plan")]
    pub(crate) elbow: Option<PathBuf>,
    /// Replace the annotated data that has the output's name
    #[arg(long, requires = "out")]
    pub(crate) overwrite: bool,
}

/// Where the components go, found to be free.
pub(crate) enum Place<'a> {
    Nowhere,
    Directory(Staging),
    Annotated { out: &'a Path, overwrite: bool, data: Box<AnnData>, genes: Option<Vec<u64>> },
}

impl<'a> Place<'a> {
    /// Checks the names of the command line before anything is opened.
    pub(crate) fn check(args: &PcaArgs) -> Outcome<()> {
        args.plot.iter().chain(&args.more.elbow).try_for_each(|path| check_place(path))?;
        match args.out.as_deref().filter(|out| is_annotated(out)) {
            Some(out) => check_target(out, args.more.overwrite, &args.file),
            None => Ok(()),
        }
    }

    /// Prepares what is written to.
    pub(crate) fn open(args: &'a PcaArgs, interrupt: &Arc<Interrupt>) -> Outcome<Self> {
        let Some(out) = args.out.as_deref() else { return Ok(Place::Nowhere) };
        if !is_annotated(out) {
            return Ok(Place::Directory(Staging::open(out, interrupt)?));
        }
        let mut input = Input::open(&args.file)?;
        let genes = args.genes.as_deref().map(|list| input.genes_of(list)).transpose()?;
        let dtype = input.x.dtype();
        let mut data = match input.anndata.clone() {
            Some(data) => data,
            None => annotated::named_by_numbers(input.x.clone())?,
        };
        if args.normalize.is_some() || args.log1p {
            input.prepare(args.normalize, args.log1p, None)?;
            if args.log1p {
                // The note of the base comes with it.
                data = data.log1p(None)?;
            }
            // Values are computed in double, and kept as scanpy keeps them.
            data.x = input.x.astype(if dtype.is_float() { dtype } else { DType::F32 });
        }
        Ok(Place::Annotated { out, overwrite: args.more.overwrite, data: Box::new(data), genes })
    }

    /// Writes the components and returns the paths of what was written.
    pub(crate) fn save(self, pca: &Pca, session: &Session) -> Outcome<Vec<String>> {
        match self {
            Place::Nowhere => Ok(Vec::new()),
            Place::Directory(staging) => save_npy(pca, staging, session),
            Place::Annotated { out, overwrite, data, genes } => {
                let data = with_components(*data, pca, genes.as_deref()).map_err(|e| session.fail(e))?;
                Ok(vec![annotated::write(session, &data, out, overwrite)?])
            }
        }
    }
}

/// Adds the components to the data, and to var which genes they are of.
fn with_components(mut data: AnnData, pca: &Pca, genes: Option<&[u64]>) -> Result<AnnData, Error> {
    if let Some(genes) = genes {
        let mut marks = vec![Some(false); usize::try_from(data.n_vars()).unwrap_or(usize::MAX)];
        genes.iter().for_each(|gene| marks[*gene as usize] = Some(true));
        data.var = data.var.with_column(MARK, Column::Bools(marks))?;
    }
    let options = cells::PcaOptions { genes: Genes::Marked(MARK.into()), ..cells::PcaOptions::default() };
    data.with_components(pca, genes, &options)
}

fn save_npy(pca: &Pca, mut staging: Staging, session: &Session) -> Outcome<Vec<String>> {
    save_array(&pca.scores, staging.place("scores.npy"), session)?;
    let (k, n_vars) = pca.components.shape();
    // nalgebra stores columns, .npy rows: the transpose's columns are the rows.
    npy::save_matrix(staging.place("components.npy"), k, n_vars, pca.components.transpose().as_slice())?;
    npy::save_vector(staging.place("explained_variance.npy"), &pca.explained_variance)?;
    Ok(staging.finish()?.iter().map(|path| path.display().to_string()).collect())
}
