//! Thalweg: a streaming SQL database in one binary.
//!
//! Reads the command line, starts the runtime, runs one command, and turns its end into an exit
//! code. Everything else has a file of its own; `serve` is the place to go on reading.

mod allocator;
mod cli;
mod config;
mod failure;
mod generate;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Generate(args) => generate::run(&args),
        Command::Serve(_) | Command::Demo(_) | Command::Produce(_) => Err(Failure::new("not in this build yet")),
    }
}
