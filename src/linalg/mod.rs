//! Factorisations of chunked arrays.
mod dense;
mod signs;

pub use dense::{
    Eigh, SmallSvd, add_transposed_times, eigh, eigh_bytes, gemm, gram_upper, qr_bytes, qr_r, qr_thin, rows_times,
    svd_bytes, svd_small,
};
