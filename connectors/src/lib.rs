//! The outside world: where rows come from, and in which formats.
//!
//! The server hands [`Registry`] to the SQL layer; which connectors there are is said in one
//! `match` here. Transports (`kafka`, `file`, `generator`) and formats (`format`) do not know each
//! other's insides. Knows no SQL.

pub mod file;
pub mod format;
pub mod generator;
pub mod kafka;
pub mod options;
pub mod payload;
pub mod priority;

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_dataflow::scan::Scan;
use thalweg_dataflow::source::{BadLines, Connectors, FileDefinition, Source, SourceDefinition};
use thalweg_dataflow::{Error, Result, SqlState};

/// Names of the connectors, for messages.
const CONNECTORS: &[&str] = &["kafka", "generator"];

/// All connectors.
#[derive(Debug, Clone, Default)]
pub struct Registry {}

impl Registry {
    /// All connectors.
    pub fn new() -> Registry {
        Registry::default()
    }
}

/// Whether a source is opened for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// CREATE SOURCE: the outside is asked.
    Create,
    /// At start: the outside may be away.
    Reopen,
}

fn open(definition: &SourceDefinition, opening: Opening) -> Result<Arc<dyn Source>> {
    let Some(connector) = definition.options.get("connector") else {
        return Err(Error::new(
            SqlState::InvalidParameter,
            format!("source \"{}\" requires option \"connector\"", definition.name),
        )
        .hint("Add WITH (connector = 'kafka', ...) or WITH (connector = 'generator')."));
    };
    match (connector.to_ascii_lowercase().as_str(), opening) {
        ("kafka", Opening::Create) => {
            Ok(Arc::new(kafka::KafkaSource::create(definition, payload::decoders(definition)?)?))
        }
        ("kafka", Opening::Reopen) => {
            Ok(Arc::new(kafka::KafkaSource::open(definition, payload::decoders(definition)?)?))
        }
        ("generator", _) => generator::open(definition),
        _ => {
            let error = Error::new(SqlState::UndefinedObject, format!("connector \"{connector}\" does not exist"));
            Err(match options::nearest(connector, CONNECTORS) {
                Some(near) => error.hint(format!("Perhaps you meant the connector \"{near}\".")),
                None => error.hint(format!("The connectors are {}.", CONNECTORS.join(" and "))),
            })
        }
    }
}

impl Connectors for Registry {
    fn create_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>> {
        open(definition, Opening::Create)
    }

    fn open_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>> {
        open(definition, Opening::Reopen)
    }

    fn open_files(&self, definition: &FileDefinition, skipped: Arc<dyn BadLines>) -> Result<Arc<dyn Scan>> {
        file::open(definition, skipped)
    }

    fn redact(&self, options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        options::redact(options)
    }
}
