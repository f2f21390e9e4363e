//! `thalweg serve`: the life of a server.
//!
//! Take the address, open the data folder (clients that come meanwhile are told so, 57P03), serve,
//! and when asked to stop: no new connections, running statements cancelled, a last checkpoint.
//! The demo runs the same server inside its own process.

use std::sync::{Arc, OnceLock};

use thalweg_connectors::Registry;
use thalweg_dataflow::engine::{Engine, EngineOptions};
use thalweg_dataflow::storage::Storage;
use thalweg_sql::batch::BatchOptions;
use thalweg_sql::database::{Database, DatabaseOptions};
use thalweg_sql::roles::login::GivenPassword;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::cli::SettingArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::listener::Listener;
use crate::postgres::cancel::Connections;
use crate::postgres::connection::Shared;
use crate::priority;
use crate::security::Security;
use crate::shutdown::Shutdown;

/// Batch queries may hold this part of the memory (one in so many); the rest is for state.
const QUERY_SHARE: u64 = 2;

/// The configuration from all its places.
pub(crate) fn configure(args: &SettingArgs, data_dir: Option<&str>) -> Result<Config, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    Ok(Config::load(&args.layer(data_dir), variable, args.config.as_deref())?)
}

/// Runs a server until it is asked to stop.
pub(crate) async fn run(config: Config) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals()?;
    let listener = bind(&config).await?;
    let security = Arc::new(Security::load(&config, listener.address.ip())?);
    security.reload_on_hangup()?;
    tracing::info!("thalweg {} opens {}", env!("CARGO_PKG_VERSION"), config.data_dir.display());
    let server = Server::start(config, listener, security, shutdown.clone()).await?;
    tracing::info!("ready: psql -h {} -p {}", server.address.ip(), server.address.port());
    shutdown.wait().await;
    tracing::info!("stopping: a last checkpoint (interrupt again to leave at once)");
    server.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Takes the address of the configuration.
pub(crate) async fn bind(config: &Config) -> Result<Listener, Failure> {
    let taken = |error: std::io::Error| {
        let failure = Failure::address(format!("cannot listen on {}: {error}", config.listen));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                failure.hint("Another server runs there; choose another port with --listen, or stop it.")
            }
            std::io::ErrorKind::PermissionDenied => failure.hint("Ports below 1024 need privileges."),
            _ => failure,
        }
    };
    Listener::bind(config.listen).await.map_err(taken)
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: std::net::SocketAddr,
    /// Its database.
    pub(crate) database: Database,
    shutdown: Shutdown,
    listening: JoinHandle<()>,
}

impl Server {
    /// Opens the data folder and serves.
    pub(crate) async fn start(
        config: Config,
        listener: Listener,
        security: Arc<Security>,
        shutdown: Shutdown,
    ) -> Result<Server, Failure> {
        let shared = Arc::new(Shared {
            database: OnceLock::new(),
            connections: Connections::new(
                config.max_connections,
                config.superuser_reserved_connections,
                shutdown.clone(),
            ),
            doors: Arc::new(Semaphore::new(config.max_authenticating_connections)),
            security: Arc::clone(&security),
            shutdown: shutdown.clone(),
        });
        crate::open_files::make_room(config.max_connections + config.max_authenticating_connections);
        let address = listener.address;
        let listening = tokio::spawn(listener.run(Arc::clone(&shared)));
        let database = open(&config).await?;
        let given = database.prepare_superuser(&config.superuser, config.password.as_ref()).await?;
        let superuser = database.superuser();
        match given {
            GivenPassword::Set => tracing::info!("the password of superuser \"{superuser}\" was set"),
            GivenPassword::Another => {
                tracing::warn!("superuser \"{superuser}\" has another password than the one given, and keeps it");
            }
            GivenPassword::Nothing | GivenPassword::Known => {}
        }
        security.check(&database)?;
        let database = shared.database.get_or_init(|| database).clone();
        Ok(Server { address, database, shutdown, listening })
    }

    /// Stops: connections end, then a last checkpoint.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.shutdown.request();
        if let Err(panic) = self.listening.await {
            tracing::error!("the listener ended badly: {panic}");
        }
        Ok(self.database.stop().await?)
    }
}

async fn open(config: &Config) -> Result<Database, Failure> {
    let (dir, options) = (config.data_dir.clone(), engine_options(config));
    let (runtime, databases) = (tokio::runtime::Handle::current(), database_options(config));
    let connectors = Arc::new(Registry::new());
    let opened = priority::behind_clients(move || {
        let engine = Engine::open(options, Storage::open(&dir)?)?;
        runtime.block_on(Database::open(engine, connectors, databases))
    });
    let opened = opened.await.ok_or_else(|| Failure::new("the data folder cannot be opened: its thread stopped"))?;
    opened.map_err(Failure::data_dir)
}

pub(crate) fn engine_options(config: &Config) -> EngineOptions {
    EngineOptions {
        workers: config.workers,
        checkpoint_interval: config.checkpoint_interval,
        epoch_max_rows: config.epoch_max_rows,
        source_queue_rows: config.source_queue_rows,
        source_batch_rows: config.source_batch_rows,
        source_errors_max_rows: config.source_errors_max_rows,
    }
}

pub(crate) fn database_options(config: &Config) -> DatabaseOptions {
    let memory = usize::try_from(config.memory / QUERY_SHARE).unwrap_or(usize::MAX);
    let spill = config.data_dir.join("spill");
    DatabaseOptions {
        batch: BatchOptions { workers: config.workers, memory, spill },
        file_errors_max_rows: config.source_errors_max_rows,
        settings: config.describe(),
    }
}
