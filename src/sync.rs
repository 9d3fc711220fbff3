//! The one door to `std::sync` and `std::thread`; the model checker stands behind a cfg.
//!
//! Code whose interleavings are checked (futures, the ledger) takes its primitives from here, so that
//! `RUSTFLAGS="--cfg allotment_loom"` swaps them for loom's. Everything else is plain std.

#[cfg(not(allotment_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(allotment_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

// Who counts references is not what is checked, and only std's `Arc` may be the type of a method's `self`.
pub(crate) use std::sync::Arc;
