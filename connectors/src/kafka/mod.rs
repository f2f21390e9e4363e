//! The Kafka connector: a topic as a source.
//!
//! CREATE SOURCE asks the cluster and says what is wrong (`client.rs`); a reader fetches by our
//! own offsets and decodes on the fetching thread (`reader.rs`, `partition.rs`); `cluster.rs`,
//! `produce.rs` and `replay.rs`
//! write topics for `thalweg produce` and the demo. Promises: the same offsets give the same rows;
//! no topic is created by reading; no secret is shown. Does not know the payloads' format.

mod client;
pub mod cluster;
mod commit;
mod control;
mod event_time;
mod include;
#[cfg(test)]
mod mock_tests;
mod native;
mod options;
mod partition;
pub mod produce;
mod properties;
mod reader;
pub mod replay;
#[cfg(test)]
mod testing;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::datatypes::{Schema, SchemaRef};
use parking_lot::Mutex;
use rdkafka::topic_partition_list::Offset;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::{Column, Meta, Offsets, ReadRequest, Reader, Source, SourceDefinition, SourceOutput};

use self::client::{Client, connect, find_topic, offsets};
use self::commit::Committer;
use self::options::{KafkaOptions, Startup};
use self::partition::Layout;
use crate::payload::DecoderFactory;

/// How long the cluster is waited for, in CREATE SOURCE and whenever offsets are asked for.
const PATIENCE: Duration = Duration::from_millis(4500);

/// A topic as a source.
pub struct KafkaSource {
    options: KafkaOptions,
    declared: usize,
    includes: Vec<(Meta, String)>,
    schema: SchemaRef,
    decoders: DecoderFactory,
    start: Offsets,
    resolved: OnceLock<Offsets>,
    /// The client for questions, made when the first one is asked.
    asker: Mutex<Option<Arc<Client>>>,
    committer: Mutex<Option<Committer>>,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl KafkaSource {
    /// Opens a definition without asking anybody: at start, when the cluster may be away.
    ///
    /// # Errors
    /// 22023 for options that are missing, unknown or wrong; 42701 for a column name used twice.
    pub fn open(definition: &SourceDefinition, decoders: DecoderFactory) -> Result<KafkaSource> {
        let options = KafkaOptions::parse(definition)?;
        Ok(KafkaSource {
            options,
            declared: definition.columns.len(),
            includes: definition.includes.clone(),
            schema: schema(&definition.columns, &definition.includes)?,
            decoders,
            start: definition.start.clone(),
            resolved: OnceLock::new(),
            asker: Mutex::new(None),
            committer: Mutex::new(None),
        })
    }

    /// Opens a definition and checks it against the cluster, within 5 seconds: CREATE SOURCE.
    ///
    /// # Errors
    /// As [`KafkaSource::open`]; 08001 if no broker can be reached, 08006 if one answers but the
    /// partitions' leaders cannot be reached at their advertised addresses, 28000 if the
    /// authentication is refused, 42704 if there is no such topic.
    pub fn create(definition: &SourceDefinition, decoders: DecoderFactory) -> Result<KafkaSource> {
        let source = KafkaSource::open(definition, decoders)?;
        let all: Vec<usize> = (0..source.declared).collect();
        (source.decoders)(&all)?;
        let found = source.resolve(Instant::now() + PATIENCE)?;
        // Kept, so that the start is the one that was checked.
        let _ = source.resolved.set(found);
        Ok(source)
    }

    fn asker(&self) -> Result<Arc<Client>> {
        let mut asker = self.asker.lock();
        if let Some(client) = &*asker {
            return Ok(client.clone());
        }
        let client = connect(&self.options.client())?;
        *asker = Some(client.clone());
        Ok(client)
    }

    fn at(&self, point: Offset, deadline: Instant) -> Result<Offsets> {
        let client = self.asker()?;
        let topic = find_topic(&client, &self.options.bootstrap, &self.options.topic, deadline)?;
        offsets(&client, &self.options.topic, &topic, point, deadline)
    }

    fn resolve(&self, deadline: Instant) -> Result<Offsets> {
        let point = match self.options.startup {
            Startup::Earliest => Offset::Beginning,
            Startup::Latest => Offset::End,
            Startup::Timestamp(millis) => Offset::Offset(millis),
        };
        self.at(point, deadline)
    }
}

/// The declared columns, then the INCLUDE ones.
fn schema(columns: &[Column], includes: &[(Meta, String)]) -> Result<SchemaRef> {
    let mut names = BTreeSet::new();
    let mut fields = Vec::with_capacity(columns.len() + includes.len());
    for column in columns {
        fields.push(column.data_type.field(column.name.clone(), !column.not_null));
    }
    for (meta, name) in includes {
        let nullable = matches!(meta, Meta::Key | Meta::Timestamp);
        fields.push(meta.data_type().field(name.clone(), nullable));
    }
    for field in &fields {
        if !names.insert(field.name().clone()) {
            return Err(Error::new(
                SqlState::DuplicateColumn,
                format!("column \"{}\" specified more than once", field.name()),
            ));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn start(&self) -> Result<Offsets> {
        if let Some(found) = self.resolved.get() {
            return Ok(found.clone());
        }
        let found = self.resolve(Instant::now() + PATIENCE)?;
        Ok(self.resolved.get_or_init(|| found).clone())
    }

    fn end(&self) -> Result<Offsets> {
        self.at(Offset::End, Instant::now() + PATIENCE)
    }

    fn read(&self, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<Box<dyn Reader>> {
        let layout = Layout {
            columns: request.columns.clone(),
            declared: self.declared,
            includes: self.includes.clone(),
            schema: Arc::new(self.schema.project(&request.columns)?),
            batch_rows: request.batch_rows,
        };
        let start =
            if self.start.is_empty() { self.resolved.get().cloned().unwrap_or_default() } else { self.start.clone() };
        let parts = reader::Parts {
            options: self.options.clone(),
            client: connect(&self.options.reader())?,
            layout,
            decoders: self.decoders.clone(),
            start,
        };
        Ok(Box::new(reader::start(parts, request, output)?))
    }

    fn progress(&self, offsets: &Offsets) {
        let mut committer = self.committer.lock();
        if committer.is_none() {
            *committer = Committer::start(&self.options).ok();
        }
        if let Some(committer) = &*committer {
            committer.set(offsets);
        }
    }

    fn describe(&self) -> String {
        format!("kafka topic {} at {}", self.options.topic, self.options.bootstrap)
    }
}
