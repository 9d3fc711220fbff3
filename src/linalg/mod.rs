//! Factorisations of chunked arrays.
mod dense;
mod moments;
mod products;
mod signs;
#[cfg(test)]
mod testing;

pub use dense::{
    Eigh, SmallSvd, add_transposed_times, eigh, eigh_bytes, gemm, gram_upper, qr_bytes, qr_r, qr_thin,
    rows_times_components, svd_bytes, svd_small,
};
