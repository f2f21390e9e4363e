//! The server's settings and where each comes from.
//!
//! A setting is looked up in this order: command line, environment (`THALWEG_...`), TOML file
//! (`--config`), default. Promises: a value that cannot be used is refused with the setting's name,
//! the place it came from and what was wanted; a name in the file that is no setting is refused
//! with the nearest one. Opens nothing but the file.

pub(crate) mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg_sql::roles::verifier::Secret;

/// What is wrong with the configuration: one line, and perhaps a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ConfigError {
    /// One without a hint.
    pub(crate) fn new(message: impl Into<String>) -> ConfigError {
        ConfigError { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> ConfigError {
        self.hint = Some(hint.into());
        self
    }
}

/// One setting: its name in the file, and what it means.
pub(crate) struct Setting {
    /// The name: `data_dir`, `epoch.max_rows`. The flag and the variable follow from it.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// What stands when nothing else is said; empty where the default is worked out.
    pub(crate) default: &'static str,
}

/// Every setting. (What each means to a user: `thalweg serve --help` and docs/operations.md.)
pub(crate) const SETTINGS: &[Setting] = &[
    Setting { name: "data_dir", about: "The folder that holds everything durable.", default: "thalweg-data" },
    Setting { name: "listen", about: "Where clients connect.", default: "127.0.0.1:7654" },
    Setting { name: "memory", about: "Memory for state and queries together.", default: "" },
    Setting { name: "workers", about: "Threads that keep views up to date.", default: "" },
    Setting { name: "checkpoint_interval", about: "Time between checkpoints.", default: "1s" },
    Setting { name: "max_connections", about: "Client connections at a time.", default: "100" },
    Setting {
        name: "superuser_reserved_connections",
        about: "The last of them, which only superusers get.",
        default: "3",
    },
    Setting {
        name: "max_authenticating_connections",
        about: "Clients at a time that are not let in yet.",
        default: "1000",
    },
    Setting { name: "tls.mode", about: "Whether clients may or must encrypt: off, allow, require.", default: "" },
    Setting { name: "tls.cert", about: "The certificate of the server, a PEM file.", default: "" },
    Setting { name: "tls.key", about: "Its private key, a PEM file.", default: "" },
    Setting { name: "hba_file", about: "Rules: who may connect, from where and how.", default: "" },
    Setting { name: "superuser", about: "The name of the superuser of a new data folder.", default: "thalweg" },
    Setting { name: "password_file", about: "The superuser's password, for when it has none.", default: "" },
    Setting { name: "authentication_timeout", about: "Time for a client to be let in.", default: "1min" },
    Setting {
        name: "login.failures_per_minute",
        about: "Failed logins of one address a minute, before it is refused.",
        default: "30",
    },
    Setting {
        name: "epoch.max_rows",
        about: "Rows that one epoch takes from all sources together.",
        default: "1000000",
    },
    Setting {
        name: "source.queue_rows",
        about: "Rows that wait between a source's reader and the engine.",
        default: "262144",
    },
    Setting { name: "source.batch_rows", about: "Rows that a reader puts into one batch.", default: "16384" },
    Setting { name: "source_errors.max_rows", about: "Rows kept in thalweg.source_errors.", default: "1000000" },
];

impl Setting {
    /// Its name without the word that only the file needs: `tls` of `tls.mode`.
    fn short(&self) -> &'static str {
        self.name.strip_suffix(".mode").unwrap_or(self.name)
    }

    /// Its flag: `--epoch-max-rows`.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.short().replace(['.', '_'], "-"))
    }

    /// Its environment variable: `THALWEG_EPOCH_MAX_ROWS`.
    pub(crate) fn variable(&self) -> String {
        format!("THALWEG_{}", self.short().replace('.', "_").to_ascii_uppercase())
    }
}

/// Whether clients may encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// They may not.
    Off,
    /// They may.
    Allow,
    /// They must.
    Require,
}

impl TlsMode {
    fn word(self) -> &'static str {
        match self {
            TlsMode::Off => "off",
            TlsMode::Allow => "allow",
            TlsMode::Require => "require",
        }
    }
}

/// The settings of a server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// The folder that holds everything durable.
    pub(crate) data_dir: PathBuf,
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Bytes that batch queries and state may use together.
    pub(crate) memory: u64,
    /// Threads that run operators.
    pub(crate) workers: usize,
    /// Time between checkpoints.
    pub(crate) checkpoint_interval: Duration,
    /// Client connections at a time.
    pub(crate) max_connections: usize,
    /// Those of them that only superusers get.
    pub(crate) superuser_reserved_connections: usize,
    /// Clients at a time that are not let in yet.
    pub(crate) max_authenticating_connections: usize,
    /// Whether clients may encrypt.
    pub(crate) tls_mode: TlsMode,
    /// The certificate.
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key.
    pub(crate) tls_key: Option<PathBuf>,
    /// Who may connect.
    pub(crate) hba_file: Option<PathBuf>,
    /// The superuser of a new data folder.
    pub(crate) superuser: String,
    /// Where the superuser's password is.
    pub(crate) password_file: Option<PathBuf>,
    /// The superuser's password, from `THALWEG_PASSWORD` or that file.
    pub(crate) password: Option<Secret>,
    /// Time for a client to be let in.
    pub(crate) authentication_timeout: Duration,
    /// Failed logins of one address a minute.
    pub(crate) login_failures_per_minute: usize,
    /// Rows an epoch takes from all sources together.
    pub(crate) epoch_max_rows: usize,
    /// Rows that wait between a source's reader and the engine.
    pub(crate) source_queue_rows: usize,
    /// Rows in one batch of a reader.
    pub(crate) source_batch_rows: usize,
    /// Rows kept in `thalweg.source_errors`.
    pub(crate) source_errors_max_rows: usize,
}

/// The values of one layer, by setting name.
pub(crate) type Layer = BTreeMap<&'static str, String>;

/// Where a value came from, for messages.
enum Origin<'a> {
    Flag,
    Variable,
    File(&'a Path),
    Default,
}

impl Config {
    /// Puts the layers together: `flags` first, then the environment, then the file.
    pub(crate) fn load(
        flags: &Layer,
        environment: impl Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Config, ConfigError> {
        let from_file = file.map(read_file).transpose()?.unwrap_or_default();
        let mut values = Values { found: BTreeMap::new() };
        for setting in SETTINGS {
            let variable = environment(&setting.variable()).filter(|value| !value.is_empty());
            let (value, origin) = if let Some(value) = flags.get(setting.name) {
                (value.clone(), Origin::Flag)
            } else if let Some(value) = variable {
                (value, Origin::Variable)
            } else if let (Some(value), Some(path)) = (from_file.get(setting.name), file) {
                (value.clone(), Origin::File(path))
            } else {
                (setting.default.to_string(), Origin::Default)
            };
            values.found.insert(setting.name, (value, place(setting, &origin)));
        }
        let mut config = values.config()?;
        config.password = password(environment("THALWEG_PASSWORD"), config.password_file.as_deref())?;
        Ok(config)
    }

    /// Name, value and meaning of every setting: what `thalweg.settings` shows.
    pub(crate) fn describe(&self) -> Vec<(String, String, String)> {
        let values = SETTINGS.iter().map(|setting| match setting.name {
            "data_dir" => self.data_dir.display().to_string(),
            "listen" => self.listen.to_string(),
            "memory" => self.memory.to_string(),
            "workers" => self.workers.to_string(),
            "checkpoint_interval" => humantime::format_duration(self.checkpoint_interval).to_string(),
            "max_connections" => self.max_connections.to_string(),
            "superuser_reserved_connections" => self.superuser_reserved_connections.to_string(),
            "max_authenticating_connections" => self.max_authenticating_connections.to_string(),
            "tls.mode" => self.tls_mode.word().to_string(),
            "tls.cert" => shown(self.tls_cert.as_deref()),
            "tls.key" => shown(self.tls_key.as_deref()),
            "hba_file" => shown(self.hba_file.as_deref()),
            "superuser" => self.superuser.clone(),
            "password_file" => shown(self.password_file.as_deref()),
            "authentication_timeout" => humantime::format_duration(self.authentication_timeout).to_string(),
            "login.failures_per_minute" => self.login_failures_per_minute.to_string(),
            "epoch.max_rows" => self.epoch_max_rows.to_string(),
            "source.queue_rows" => self.source_queue_rows.to_string(),
            "source.batch_rows" => self.source_batch_rows.to_string(),
            "source_errors.max_rows" => self.source_errors_max_rows.to_string(),
            _ => String::new(),
        });
        SETTINGS
            .iter()
            .zip(values)
            .map(|(setting, value)| (setting.name.to_string(), value, setting.about.to_string()))
            .collect()
    }
}

/// The name of the place of a value: `--listen`, `THALWEG_LISTEN`, `listen in thalweg.toml`.
fn place(setting: &Setting, origin: &Origin<'_>) -> String {
    match origin {
        Origin::Flag => setting.flag(),
        Origin::Variable => setting.variable(),
        Origin::File(path) => format!("{} in {}", setting.name, path.display()),
        Origin::Default => format!("the default of {}", setting.name),
    }
}

struct Values {
    found: BTreeMap<&'static str, (String, String)>,
}

impl Values {
    fn config(&self) -> Result<Config, ConfigError> {
        const MANY: usize = 1_000_000_000;
        let config = Config {
            data_dir: self.get("data_dir", |text| match text {
                "" => Err("expected a folder".to_string()),
                text => Ok(PathBuf::from(text)),
            })?,
            listen: self.get("listen", address)?,
            memory: self.get("memory", |text| match text {
                "" => Ok(default_memory()),
                text => value::bytes(text),
            })?,
            workers: self.get("workers", |text| match text {
                "" => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
                text => value::count(text, 1024),
            })?,
            checkpoint_interval: self.get("checkpoint_interval", value::duration)?,
            max_connections: self.get("max_connections", |text| value::count(text, 100_000))?,
            superuser_reserved_connections: self.get("superuser_reserved_connections", |text| match text {
                "0" => Ok(0),
                text => value::count(text, 100_000),
            })?,
            max_authenticating_connections: self
                .get("max_authenticating_connections", |text| value::count(text, 100_000))?,
            tls_mode: self.get("tls.mode", |text| match text {
                "" if self.is_given("tls.cert") => Ok(TlsMode::Allow),
                "" | "off" => Ok(TlsMode::Off),
                "allow" => Ok(TlsMode::Allow),
                "require" => Ok(TlsMode::Require),
                _ => Err("expected off, allow or require".to_string()),
            })?,
            tls_cert: self.get("tls.cert", path)?,
            tls_key: self.get("tls.key", path)?,
            hba_file: self.get("hba_file", path)?,
            superuser: self.get("superuser", |text| match text {
                "" => Err("expected the name of a role".to_string()),
                text => Ok(text.to_string()),
            })?,
            password_file: self.get("password_file", path)?,
            password: None,
            authentication_timeout: self.get("authentication_timeout", value::duration)?,
            login_failures_per_minute: self.get("login.failures_per_minute", |text| value::count(text, MANY))?,
            epoch_max_rows: self.get("epoch.max_rows", |text| value::count(text, MANY))?,
            source_queue_rows: self.get("source.queue_rows", |text| value::count(text, MANY))?,
            source_batch_rows: self.get("source.batch_rows", |text| value::count(text, MANY))?,
            source_errors_max_rows: self.get("source_errors.max_rows", |text| value::count(text, MANY))?,
        };
        if config.memory < 64 << 20 {
            return Err(self.refused("memory", "expected at least 64MiB"));
        }
        if config.checkpoint_interval < Duration::from_millis(10) {
            return Err(self.refused("checkpoint_interval", "expected at least 10ms"));
        }
        if config.tls_mode != TlsMode::Off && config.tls_cert.is_none() {
            return Err(self.refused("tls.mode", "it needs a certificate, --tls-cert and --tls-key"));
        }
        if config.tls_cert.is_some() != config.tls_key.is_some() {
            let given = if config.tls_key.is_none() { "tls.cert" } else { "tls.key" };
            return Err(self.refused(given, "--tls-cert and --tls-key go together"));
        }
        if config.authentication_timeout < Duration::from_secs(1) {
            return Err(self.refused("authentication_timeout", "expected at least 1s"));
        }
        Ok(config)
    }

    fn is_given(&self, name: &str) -> bool {
        self.found.get(name).is_some_and(|(text, _)| !text.is_empty())
    }

    fn get<T>(&self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        let text = self.found.get(name).map_or("", |(text, _)| text.as_str());
        parse(text.trim()).map_err(|cause| self.refused(name, &cause))
    }

    fn refused(&self, name: &str, cause: &str) -> ConfigError {
        let empty = (String::new(), String::new());
        let (text, place) = self.found.get(name).unwrap_or(&empty);
        ConfigError::new(format!("invalid value \"{text}\" for {place}: {cause}"))
    }
}

/// A file; none if nothing is said.
fn path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// A file as `thalweg.settings` shows it.
fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "none".to_string(), |path| path.display().to_string())
}

/// The superuser's password: the variable's, else the file's without its line's end.
fn password(variable: Option<String>, file: Option<&Path>) -> Result<Option<Secret>, ConfigError> {
    if let Some(password) = variable.filter(|password| !password.is_empty()) {
        return Ok(Some(Secret::new(password)));
    }
    let Some(path) = file else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new(format!("cannot read password file {}: {error}", path.display())))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(ConfigError::new(format!("password file {} has no password in its first line", path.display())));
    }
    Ok(Some(Secret::new(line)))
}

/// `host:port`, `:port` or a host that resolves; port 0 takes any free one.
fn address(text: &str) -> Result<SocketAddr, String> {
    const WANTED: &str = "expected host:port such as 127.0.0.1:7654";
    let full = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_string() };
    if !full.contains(':') {
        return Err(format!("{WANTED}; there is no port"));
    }
    let mut found = full.to_socket_addrs().map_err(|error| format!("{WANTED} ({error})"))?;
    found.next().ok_or_else(|| WANTED.to_string())
}

/// Half of the memory that this process may have: the machine's, or its control group's limit.
fn default_memory() -> u64 {
    const GUESS: u64 = 4 << 30;
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let most = match (machine, group) {
        (Some(machine), Some(group)) => u64::min(machine, group),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => GUESS * 2,
    };
    (most / 2).max(64 << 20)
}

/// The file's values by setting name. Nested tables and dotted names mean the same.
fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new(format!("cannot read configuration file {}: {error}", path.display())))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        ConfigError::new(format!("{}, line {line}: {}", path.display(), error.message()))
    })?;
    let mut layer = Layer::new();
    flatten("", &table, path, &mut layer)?;
    Ok(layer)
}

fn flatten(prefix: &str, table: &toml::Table, path: &Path, layer: &mut Layer) -> Result<(), ConfigError> {
    for (key, entry) in table {
        let name = format!("{prefix}{}", key.replace('-', "_"));
        let known = SETTINGS.iter().find(|setting| setting.name == name);
        let group = SETTINGS.iter().any(|setting| setting.name.starts_with(&format!("{name}.")));
        match (known, entry) {
            (Some(setting), toml::Value::String(text)) => {
                layer.insert(setting.name, text.clone());
            }
            (Some(setting), toml::Value::Integer(number)) => {
                layer.insert(setting.name, number.to_string());
            }
            (Some(setting), _) => {
                let message = format!("{} in {} must be a string or a whole number", setting.name, path.display());
                return Err(ConfigError::new(message));
            }
            (None, toml::Value::Table(inner)) if group => flatten(&format!("{name}."), inner, path, layer)?,
            (None, _) => return Err(unknown(&name, path)),
        }
    }
    Ok(())
}

fn unknown(name: &str, path: &Path) -> ConfigError {
    let error = ConfigError::new(format!("unknown setting \"{name}\" in {}", path.display()));
    match nearest(name, SETTINGS.iter().map(|setting| setting.name)) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => {
            let all: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
            error.hint(format!("The settings are {}.", all.join(", ")))
        }
    }
}

/// The name nearest to one that does not exist, if any is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn layers_override_each_other() {
        let file = file("listen = '127.0.0.1:1'\nworkers = 1\nepoch.max_rows = 5\n[source]\nqueue-rows = '7'\n");
        let environment = |name: &str| match name {
            "THALWEG_LISTEN" => Some("127.0.0.1:2".to_string()),
            "THALWEG_WORKERS" => Some("2".to_string()),
            _ => None,
        };
        let flags = Layer::from([("workers", "3".to_string())]);
        let config = Config::load(&flags, environment, Some(file.path())).unwrap();
        assert_eq!(config.workers, 3);
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.epoch_max_rows, 5);
        assert_eq!(config.source_queue_rows, 7);
        assert_eq!(config.checkpoint_interval, Duration::from_secs(1));
    }

    #[test]
    fn every_setting_is_described() {
        let config = Config::load(&Layer::new(), nothing, None).unwrap();
        assert!(config.describe().iter().all(|(_, value, about)| !value.is_empty() && about.ends_with('.')));
    }

    #[test]
    fn a_bad_value_names_its_place() {
        let flags = Layer::from([("listen", "nowhere".to_string())]);
        let error = Config::load(&flags, nothing, None).unwrap_err();
        assert!(error.message.starts_with("invalid value \"nowhere\" for --listen: expected host:port"), "{error}");
        let environment = |name: &str| (name == "THALWEG_MEMORY").then(|| "lots".to_string());
        let error = Config::load(&Layer::new(), environment, None).unwrap_err();
        assert!(error.message.contains("for THALWEG_MEMORY: expected a size"), "{error}");
        let file = file("checkpoint_interval = 'soon'");
        let error = Config::load(&Layer::new(), nothing, Some(file.path())).unwrap_err();
        assert!(error.message.contains("for checkpoint_interval in "), "{error}");
    }

    #[test]
    fn an_unknown_name_in_the_file_gives_the_nearest() {
        let file = file("[epoch]\nmax_row = 5\n");
        let error = Config::load(&Layer::new(), nothing, Some(file.path())).unwrap_err();
        assert!(error.message.starts_with("unknown setting \"epoch.max_row\""), "{error}");
        assert_eq!(error.hint.as_deref(), Some("Did you mean \"epoch.max_rows\"?"));
    }

    #[test]
    fn a_broken_or_missing_file_is_named() {
        let file = file("listen = \n");
        let error = Config::load(&Layer::new(), nothing, Some(file.path())).unwrap_err();
        assert!(error.message.contains("line 1"), "{error}");
        let error = Config::load(&Layer::new(), nothing, Some(Path::new("/no/such.toml"))).unwrap_err();
        assert!(error.message.starts_with("cannot read configuration file /no/such.toml: "), "{error}");
    }
}
