//! Functions on blocks that are known by a name, so that a plan can carry the name and another process find the function.
//!
//! The table belongs to the process, as its code does. A name means one function for ever: what is registered is never
//! replaced or removed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Block, BlockInfo};
use crate::error::{Error, Result};

/// A function without captures: all that it needs is its block.
type KernelFn = fn(Block, BlockInfo) -> Result<Block>;

static KERNELS: Mutex<BTreeMap<String, KernelFn>> = Mutex::new(BTreeMap::new());

/// Registers a function on blocks under a name, for [`BlockMap::kernel`](super::BlockMap::kernel) and for plans that were written
/// elsewhere. Every process that is to run such a plan does so at its start. Registering the same function again is nothing.
///
/// # Errors
///
/// [`Error::BadArgument`] when another function is registered under the name.
///
/// # Examples
///
/// ```
/// use allotment::array::{Array, Block, BlockInfo, BlockKind, BlockMap, DType, DenseBlock, register_kernel};
/// use allotment::{Cluster, Result};
///
/// fn row_maxima(block: Block, _info: BlockInfo) -> Result<Block> {
///     let (rows, cols) = block.shape();
///     let rows_of = block.to_vec::<f64>();
///     let maxima: Vec<f64> = rows_of.chunks(cols).map(|row| row.iter().copied().fold(f64::MIN, f64::max)).collect();
///     Ok(DenseBlock::new(rows, 1, maxima)?.into())
/// }
///
/// register_kernel("row maxima", row_maxima)?;
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let maxima = BlockMap::kernel("row maxima", 1, DType::F64, BlockKind::Dense)?;
/// let array = Array::from_rows(&[[1.0, 5.0], [7.0, 2.0]])?.map_blocks(maxima)?;
/// assert_eq!(array.compute(&cluster)?.to_vec::<f64>(), [5.0, 7.0]);
/// assert!(array.to_plan_bytes().is_ok(), "it can travel");
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn register_kernel(name: &str, kernel: fn(Block, BlockInfo) -> Result<Block>) -> Result<()> {
    let mut kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = *kernels.entry(name.to_string()).or_insert(kernel);
    if std::ptr::fn_addr_eq(known, kernel) {
        return Ok(());
    }
    Err(Error::bad_argument("register_kernel", "name", format!("{name:?}, which another function has"), "a new name"))
}

/// Returns the function of a name.
pub(super) fn kernel(name: &str) -> Result<KernelFn> {
    let kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
    kernels.get(name).copied().ok_or_else(|| {
        let names: Vec<&str> = kernels.keys().map(String::as_str).collect();
        let expected = format!("a registered one ({}): call register_kernel at the start", names.join(", "));
        Error::bad_argument("map_blocks", "kernel", format!("{name:?}"), expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_function() {
        fn same(block: Block, _: BlockInfo) -> Result<Block> {
            Ok(block)
        }
        fn other(block: Block, _: BlockInfo) -> Result<Block> {
            Ok(block.cast(crate::array::DType::F32))
        }
        register_kernel("registry test", same).expect("a new name");
        register_kernel("registry test", same).expect("the same function");
        assert!(register_kernel("registry test", other).is_err());
        let error = kernel("no such kernel").expect_err("nobody registered it");
        assert!(error.to_string().contains("registry test"), "{error}");
    }
}
