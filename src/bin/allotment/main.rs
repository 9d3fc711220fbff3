//! tmp
#![allow(dead_code, reason = "tmp")]
mod args;
mod failure;
mod interrupt;
mod output;
mod palette;
mod peak;
mod plot;
#[cfg(test)]
mod plot_tests;
mod progress;
mod staging;
fn main() {}
