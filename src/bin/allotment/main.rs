//! The `allotment` program: factorises matrices larger than memory, from the command line.
//!
//! ```text
//! arguments ──▶ one command ──▶ report ──▶ stdout: a table, or one JSON object
//!                  │  ▲
//!          progress▼  │cluster              stderr: progress, notes, one line for an error
//! ```
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. The program uses the library's public interface only.

mod annotated;
mod args;
mod convert;
mod failure;
mod hvg;
mod hvg_plot;
mod info;
mod input;
mod interrupt;
mod knn;
mod output;
mod palette;
mod pca;
mod pca_out;
mod pca_plot;
mod peak;
mod pipeline;
mod pipeline_report;
mod plan;
mod plot;
#[cfg(test)]
mod plot_tests;
mod progress;
mod qc;
mod qc_plot;
mod sample;
mod session;
mod staging;
mod stats;
mod stats_out;
mod svd;
mod target;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use allotment::CountingAllocator;
use args::{Cli, Command};
use failure::{Failure, Outcome, one_line};
use interrupt::Interrupt;

/// Counts what tasks hold, for the reports of their runs.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    write_traces();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::ReaderGone) {
                complain(&failure.to_string());
            }
            failure.exit_code()
        }
    }
}

fn run(cli: &Cli) -> Outcome<()> {
    let interrupt = Interrupt::listen();
    let outcome = match &cli.command {
        Command::Info(args) => info::run(args, &cli.shared),
        Command::Convert(args) => convert::run(args, &cli.shared, &interrupt),
        Command::Sample(args) => sample::run(args, &cli.shared, &interrupt),
        Command::Stats(args) => stats::run(args, &cli.shared, &interrupt),
        Command::Qc(args) => qc::run(args, &cli.shared, &interrupt),
        Command::Pca(args) => pca::run(args, &cli.shared, &interrupt),
        Command::Svd(args) => svd::run(args, &cli.shared, &interrupt),
        Command::Hvg(args) => hvg::run(args, &cli.shared, &interrupt),
        Command::Pipeline(args) => pipeline::run(args, &cli.shared, &interrupt),
        Command::Knn(args) => knn::run(args, &cli.shared, &interrupt),
    };
    // After Ctrl-C every step fails in its own words; the reader should hear the one reason.
    outcome.map_err(|failure| interrupt.check().err().unwrap_or(failure))
}

/// Answers a command line that cannot be read: help as it is, everything else in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    let wants_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if wants_help {
        // A reader of the help text that is gone has read enough.
        let _ = error.print();
    } else {
        let text = error.render().to_string();
        let reason = text.split("\n\nUsage:").next().unwrap_or(&text);
        let reason = one_line(reason.split("\n\nFor more").next().unwrap_or(reason));
        complain(&format!("{}; see --help", reason.trim_start_matches("error: ")));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn complain(message: &str) {
    // With stderr gone there is nobody left to tell; the exit code still says it.
    let _ = writeln!(std::io::stderr(), "error: {message}");
}

/// Prints the library's traces on stderr when `ALLOTMENT_LOG` asks for them, as in `ALLOTMENT_LOG=debug`.
fn write_traces() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("ALLOTMENT_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}
