//! Thalweg: a streaming SQL database in one binary.
//!
//! Reads the command line, starts the runtime, runs one command, and turns its end into an exit
//! code. Everything else has a file of its own; `serve` is the place to go on reading. A library
//! only so that [`fuzz`] can be reached from the outside.

mod allocator;
mod cli;
mod config;
mod demo;
mod failure;
pub mod fuzz;
mod generate;
mod listener;
mod open_files;
mod postgres;
mod priority;
mod produce;
mod security;
mod serve;
mod shutdown;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// The binary.
pub fn main() -> ExitCode {
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
        Command::Serve(args) => {
            telemetry::start(false);
            let config = serve::configure(&args.settings, args.data_dir.as_deref())?;
            runtime()?.block_on(serve::run(config))
        }
        Command::Generate(args) => generate::run(&args),
        Command::Demo(args) => {
            telemetry::start(true);
            runtime()?.block_on(demo::run(args))
        }
        Command::Produce(args) => {
            telemetry::start(true);
            runtime()?.block_on(produce::run(args))
        }
    }
}

/// Bytes of a thread's stack, taken from the system as they are needed: statements are read and bound
/// there, and those are trees as deep as the parser lets them be.
const STACK: usize = 32 << 20;

/// The threads that talk to clients. The engine's and the queries' threads are their own.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(threads).thread_name("thalweg-net").thread_stack_size(STACK).enable_all().build()?)
}
