//! Formats. Each file knows one, none knows another.
//!
//! Inputs are read by position and in bounded runs of rows, from any number of lanes at once ([`crate::array::Source`]);
//! what is written appears under its name only when it is whole. Whatever is wrong with a file is one line that names
//! the file and the place.

mod input;
mod new_file;
pub mod npy;
#[cfg(test)]
mod testing;
mod values;
