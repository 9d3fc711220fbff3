//! What 10x Genomics' Cell Ranger writes.

#[cfg(feature = "h5ad")]
pub(super) mod h5;
