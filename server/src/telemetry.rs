//! Log lines on stderr, filtered by `RUST_LOG` (default: `info`, of the libraries only warnings).
//!
//! Does not write files; whoever starts the server redirects stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging; `quiet` leaves only warnings unless `RUST_LOG` says otherwise.
pub(crate) fn start(quiet: bool) {
    let default =
        if quiet { "warn" } else { "warn,thalweg=info,thalweg_sql=info,thalweg_dataflow=info,thalweg_connectors=info" };
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).unwrap_or_else(|error| {
            eprintln!("warning: RUST_LOG is not understood ({error}); using \"{default}\"");
            EnvFilter::new(default)
        }),
        _ => EnvFilter::new(default),
    };
    let built = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    if let Err(error) = built {
        eprintln!("warning: no log: {error}");
    }
}
