//! The command line: what `thalweg --help` shows.
//!
//! Promises: every setting of the server is a flag, an environment variable and a name in the
//! configuration file (see `config`). Does nothing but describe and parse.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use crate::config::Layer;
use crate::config::value::rate;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Cyan.on_default().bold())
    .usage(AnsiColor::Cyan.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Yellow.on_default());

/// The first lines of `thalweg --help`.
const ABOUT: &str = "A streaming SQL database in one binary.

Kafka topics flow in, materialized views over them are kept up to date incrementally and exactly
once, and psql or any Postgres driver reads them.";

const EXAMPLES: &str = "Examples:
  thalweg demo                            a live stream, three views, and a psql line to paste
  thalweg serve --data-dir /var/lib/thalweg
  psql -h 127.0.0.1 -p 7654               from another terminal
  thalweg produce --brokers 127.0.0.1:9092 --topic ecomm_test --file 2019-Nov.csv.gz --rate 10000/min
  thalweg generate --rows 1000000 --out events.csv";

const EXIT_CODES: &str = "Exit codes: 0 stopped as asked, 1 failed, 2 wrong command line or configuration, \
3 the data folder cannot be used, 4 the address cannot be listened on, 130 interrupted twice.";

/// Thalweg's command line.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, about = ABOUT, after_help = EXAMPLES, after_long_help = EXAMPLES, styles = STYLES)]
#[command(propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    #[command(after_help = EXIT_CODES)]
    Serve(ServeArgs),
    /// Run a server with a live stream of e-commerce events and views over it
    #[command(after_help = EXIT_CODES)]
    Demo(DemoArgs),
    /// Replay a CSV file into a Kafka topic
    Produce(ProduceArgs),
    /// Write a CSV file of made-up e-commerce events
    Generate(GenerateArgs),
}

/// Flags of the settings that `serve` and `demo` share.
#[derive(Debug, Args, Default)]
pub(crate) struct SettingArgs {
    /// Where clients connect: host:port; port 0 takes any free one [default: 127.0.0.1:7654]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Memory for state and queries together [default: half of what there is]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Threads that keep views up to date [default: one a processor]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Time between checkpoints [default: 1s]
    #[arg(long, value_name = "TIME")]
    checkpoint_interval: Option<String>,
    /// Client connections at a time [default: 100]
    #[arg(long, value_name = "N", help_heading = "Bounds")]
    max_connections: Option<String>,
    /// The last of them, which only superusers get [default: 3]
    #[arg(long, value_name = "N", help_heading = "Security")]
    superuser_reserved_connections: Option<String>,
    /// Clients at a time that are not let in yet [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Security")]
    max_authenticating_connections: Option<String>,
    /// Whether clients may or must encrypt: off, allow, require [default: allow with --tls-cert]
    #[arg(long, value_name = "MODE", help_heading = "Security")]
    tls: Option<String>,
    /// The certificate, a PEM file; read again on SIGHUP
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    tls_cert: Option<String>,
    /// Its private key, a PEM file
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    tls_key: Option<String>,
    /// Who may connect, from where and how, in the form of pg_hba.conf; read again on SIGHUP
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    hba_file: Option<String>,
    /// The name of the superuser of a new data folder [default: thalweg]
    #[arg(long, value_name = "NAME", help_heading = "Security")]
    superuser: Option<String>,
    /// The superuser's password, for when it has none yet; or THALWEG_PASSWORD
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    password_file: Option<String>,
    /// Time for a client to be let in [default: 1min]
    #[arg(long, value_name = "TIME", help_heading = "Security")]
    authentication_timeout: Option<String>,
    /// Failed logins of one address a minute, before it is refused [default: 30]
    #[arg(long, value_name = "N", help_heading = "Security")]
    login_failures_per_minute: Option<String>,
    /// Rows that one epoch takes from all sources together [default: 1000000]
    #[arg(long, value_name = "ROWS", help_heading = "Bounds")]
    epoch_max_rows: Option<String>,
    /// Rows that wait between a source's reader and the engine [default: 262144]
    #[arg(long, value_name = "ROWS", help_heading = "Bounds")]
    source_queue_rows: Option<String>,
    /// Rows that a reader puts into one batch [default: 16384]
    #[arg(long, value_name = "ROWS", help_heading = "Bounds")]
    source_batch_rows: Option<String>,
    /// Rows kept in thalweg.source_errors [default: 1000000]
    #[arg(long, value_name = "ROWS", help_heading = "Bounds")]
    source_errors_max_rows: Option<String>,
    /// Read settings from this TOML file; flags and THALWEG_... variables override it
    #[arg(long, value_name = "FILE", env = "THALWEG_CONFIG", hide_env = true)]
    pub(crate) config: Option<PathBuf>,
}

impl SettingArgs {
    /// The flags that were given, as a layer of the configuration.
    pub(crate) fn layer(&self, data_dir: Option<&str>) -> Layer {
        let given = [
            ("data_dir", data_dir),
            ("listen", self.listen.as_deref()),
            ("memory", self.memory.as_deref()),
            ("workers", self.workers.as_deref()),
            ("checkpoint_interval", self.checkpoint_interval.as_deref()),
            ("max_connections", self.max_connections.as_deref()),
            ("superuser_reserved_connections", self.superuser_reserved_connections.as_deref()),
            ("tls.mode", self.tls.as_deref()),
            ("tls.cert", self.tls_cert.as_deref()),
            ("tls.key", self.tls_key.as_deref()),
            ("hba_file", self.hba_file.as_deref()),
            ("superuser", self.superuser.as_deref()),
            ("password_file", self.password_file.as_deref()),
            ("max_authenticating_connections", self.max_authenticating_connections.as_deref()),
            ("authentication_timeout", self.authentication_timeout.as_deref()),
            ("login.failures_per_minute", self.login_failures_per_minute.as_deref()),
            ("epoch.max_rows", self.epoch_max_rows.as_deref()),
            ("source.queue_rows", self.source_queue_rows.as_deref()),
            ("source.batch_rows", self.source_batch_rows.as_deref()),
            ("source_errors.max_rows", self.source_errors_max_rows.as_deref()),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))).collect()
    }
}

/// `thalweg serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The folder that holds everything durable, made if missing [default: thalweg-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

/// `thalweg demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The folder of the demo's data; it goes on where it stopped
    #[arg(long, value_name = "DIR", default_value = "./thalweg-demo")]
    pub(crate) data_dir: String,
    /// Throw the demo's data away and start over
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Events: so many a minute or second (10000/min, 100000/s), or max [default: 10000/min]
    #[arg(long, value_name = "RATE", value_parser = checked_rate)]
    pub(crate) rate: Option<String>,
    /// Send the events through this Kafka broker, topic ecomm_test (made by the demo), and back
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

/// `thalweg produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The brokers, comma separated
    #[arg(long, value_name = "HOST:PORT,...")]
    pub(crate) brokers: String,
    /// The topic; made if missing
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// The CSV file; .gz and .zst are unpacked on the way; a header line is skipped
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Rows: so many a minute or second (10000/min, 5000/s), or max
    #[arg(long, value_name = "RATE", default_value = "max", value_parser = checked_rate)]
    pub(crate) rate: String,
    /// The column whose value is each message's key
    #[arg(long, value_name = "COLUMN")]
    pub(crate) key: Option<String>,
    /// Lines in each message
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) lines_per_message: u32,
    /// Partitions of the topic if it is made
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) partitions: u32,
    /// Move event_time so that the first row sent happens now
    #[arg(long, value_name = "WHEN", value_parser = ["now"])]
    pub(crate) shift_time: Option<String>,
    /// Skip so many rows: goes on after a stop, which names the number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from_row: u64,
    /// A librdkafka option (security.protocol=SSL); may be repeated
    #[arg(long = "property", short = 'X', value_name = "NAME=VALUE", value_parser = property)]
    pub(crate) properties: Vec<(String, String)>,
}

/// `thalweg generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// How many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rows: u64,
    /// The same seed gives the same events, byte for byte
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The file to write; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

fn checked_rate(text: &str) -> Result<String, String> {
    rate(text).map(|_| text.to_string())
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("expected NAME=VALUE".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SETTINGS;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_of_serve() {
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        for setting in SETTINGS {
            let flag = setting.flag();
            let argument = serve.get_arguments().find(|argument| argument.get_long() == flag.strip_prefix("--"));
            let help = argument.unwrap_or_else(|| panic!("{flag}")).get_help().unwrap().to_string();
            assert!(setting.default.is_empty() || help.contains(&format!("[default: {}]", setting.default)), "{help}");
        }
    }

    #[test]
    fn flags_become_a_layer() {
        let cli = Cli::parse_from(["thalweg", "serve", "--data-dir", "d", "--epoch-max-rows", "5"]);
        let Command::Serve(args) = cli.command else { panic!("serve") };
        let layer = args.settings.layer(args.data_dir.as_deref());
        assert_eq!(layer, Layer::from([("data_dir", "d".to_string()), ("epoch.max_rows", "5".to_string())]));
    }
}
