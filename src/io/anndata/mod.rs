//! AnnData's encodings: one tree of groups and arrays over HDF5 and Zarr.

pub(crate) mod write;
