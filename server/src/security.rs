//! What decides who gets in, as of now: the certificate, the rules, the failed logins.
//!
//! Promises: read at start, where a fault ends the server, and again on SIGHUP, where a fault is
//! logged and what was in force stays. Connections that are open keep what they have. Talks to
//! nobody.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use thalweg_sql::database::Database;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, ConfigError, TlsMode};
use crate::failure::Failure;
use crate::postgres::hba::Rules;
use crate::postgres::limiter::Limiter;
use crate::postgres::tls::Tls;

/// See the module.
#[derive(Debug)]
pub(crate) struct Security {
    mode: TlsMode,
    certificate: Option<(PathBuf, PathBuf)>,
    hba_file: Option<PathBuf>,
    /// Whether only this machine can reach the listener.
    loopback: bool,
    tls: RwLock<Option<Arc<Tls>>>,
    rules: RwLock<Option<Arc<Rules>>>,
    /// How long a client may take to be let in.
    pub(crate) authentication_timeout: Duration,
    /// Failed logins by address.
    pub(crate) limiter: Arc<Limiter>,
}

impl Security {
    /// Reads what the configuration names. `address`: where the server listens.
    pub(crate) fn load(config: &Config, address: IpAddr) -> Result<Security, ConfigError> {
        let certificate = config.tls_cert.clone().zip(config.tls_key.clone());
        let security = Security {
            mode: config.tls_mode,
            certificate,
            hba_file: config.hba_file.clone(),
            loopback: address.is_loopback(),
            tls: RwLock::default(),
            rules: RwLock::default(),
            authentication_timeout: config.authentication_timeout,
            limiter: Arc::new(Limiter::new(config.login_failures_per_minute)),
        };
        security.read_tls().map_err(ConfigError::new)?;
        security.read_rules().map_err(ConfigError::new)?;
        Ok(security)
    }

    fn read_tls(&self) -> Result<(), String> {
        if let (true, Some((certificate, key))) = (self.mode != TlsMode::Off, &self.certificate) {
            *self.tls.write() = Some(Arc::new(Tls::load(certificate, key)?));
        }
        Ok(())
    }

    fn read_rules(&self) -> Result<(), String> {
        if let Some(path) = &self.hba_file {
            *self.rules.write() = Some(Arc::new(read_hba(path)?));
        }
        Ok(())
    }

    /// Reads the files again whenever SIGHUP comes. To be called inside the runtime.
    pub(crate) fn reload_on_hangup(self: &Arc<Self>) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let security = Arc::clone(self);
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                security.reload();
            }
        });
        Ok(())
    }

    fn reload(&self) {
        tracing::info!("received SIGHUP, reading the certificate and the rules again");
        for (read, what) in [(self.read_tls(), "certificate"), (self.read_rules(), "rules")] {
            if let Err(error) = read {
                tracing::error!("the {what} in force stay as they were: {error}");
            }
        }
    }

    /// The certificate for a new connection.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.read().clone()
    }

    /// Whether a session in clear is refused.
    pub(crate) fn requires_tls(&self) -> bool {
        self.mode == TlsMode::Require
    }

    /// Whether everybody is let in, whatever the name: no rules, no password, nobody from elsewhere.
    pub(crate) fn trusts_all(&self, database: &Database) -> bool {
        self.loopback && self.hba_file.is_none() && !database.has_passwords()
    }

    /// The rules in force.
    pub(crate) fn rules(&self, database: &Database) -> Arc<Rules> {
        let of_file = self.rules.read().clone();
        of_file.unwrap_or_else(|| Arc::new(Rules::standard(self.trusts_all(database))))
    }

    /// At start: refuses to serve others without asking them who they are, and says who is trusted.
    pub(crate) fn check(&self, database: &Database) -> Result<(), Failure> {
        let superuser = database.superuser();
        if self.hba_file.is_none() && !self.loopback && !database.has_passwords() {
            let message = "no role has a password: without one the server listens on loopback addresses only";
            return Err(Failure::usage(message).hint(format!(
                "Set the password of superuser \"{superuser}\" by THALWEG_PASSWORD or --password-file, \
                 or say who may connect in --hba-file."
            )));
        }
        if self.trusts_all(database) {
            tracing::warn!(
                "no role has a password: everybody on this machine is trusted, under any user name \
                 (ALTER ROLE {superuser} PASSWORD '...' ends that)"
            );
        }
        if let Some(rules) = self.rules.read().as_ref().filter(|_| !self.loopback) {
            for line in rules.trusting_lines() {
                tracing::warn!("line {line} of the rules trusts other machines without a password");
            }
        }
        if self.tls.read().is_none() && !self.loopback {
            tracing::warn!("there is no TLS: what clients and server say can be read on the way");
        }
        Ok(())
    }
}

fn read_hba(path: &Path) -> Result<Rules, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("cannot read the rules in {}: {error}", path.display()))?;
    Rules::parse(&text).map_err(|error| format!("{}, {error}", path.display()))
}
