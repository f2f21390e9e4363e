//! A real Apache Kafka broker for a test: brought up on free ports in a temporary folder.
//!
//! Promises: [`Kafka::start`] returns when the broker serves topics; nothing is left running and no
//! folder behind, however the test process ends. Panics where a test cannot go on. One broker that
//! is its own controller; besides its ordinary listener it has one that asks for a password and one
//! whose advertised address nobody listens at.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thalweg_connectors::kafka::cluster::Cluster;

/// How long a broker may take to start; the machine may be busy compiling.
const START: Duration = Duration::from_secs(120);

/// A broker.
pub struct Kafka {
    dir: PathBuf,
    jars: PathBuf,
    port: u16,
    sasl_port: u16,
    lost_port: u16,
    child: Option<Child>,
}

impl Kafka {
    /// Brings a broker up.
    pub fn start() -> Kafka {
        let jars = jars();
        let dir = tempfile::Builder::new().prefix("thalweg-kafka.").tempdir().expect("a temporary folder").keep();
        let [port, controller, sasl_port, lost_port] = free_ports();
        let template = std::fs::read_to_string(scripts().join("server.properties")).expect("server.properties");
        let mut settings = template
            .replace("@PORT@", &port.to_string())
            .replace("@CONTROLLER@", &controller.to_string())
            .replace("@DIR@", &dir.display().to_string());
        let old = |name: &str| settings.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_string();
        let (listeners, advertised, map) = (old("listeners="), old("advertised.listeners="), old("listener.security"));
        settings.push_str(&format!(
            "{listeners},PASSWORD://127.0.0.1:{sasl_port},LOST://127.0.0.1:{lost_port}\n\
             {advertised},PASSWORD://127.0.0.1:{sasl_port},LOST://127.0.0.1:1\n\
             {map},PASSWORD:SASL_PLAINTEXT,LOST:PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.password.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"right\";\n"
        ));
        std::fs::write(dir.join("server.properties"), settings).expect("the temporary folder is writable");
        let mut kafka = Kafka { dir, jars, port, sasl_port, lost_port, child: None };
        kafka.start_again();
        kafka
    }

    /// Brings it up again after [`Kafka::stop`] or [`Kafka::kill`], with the same data and ports.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the broker runs");
        let child = Command::new(scripts().join("broker"))
            .args([&self.dir, &self.jars])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is there");
        self.child = Some(child);
        self.await_ready();
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// The address to give as bootstrap server.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An address that asks for SASL/PLAIN; user `alice`, password `right`.
    pub fn password_listener(&self) -> String {
        format!("127.0.0.1:{}", self.sasl_port)
    }

    /// An address that answers and sends its clients to 127.0.0.1:1, where nobody is.
    pub fn lost_listener(&self) -> String {
        format!("127.0.0.1:{}", self.lost_port)
    }

    /// The cluster, for topics.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(&self.bootstrap(), &BTreeMap::new()).expect("no properties are wrong")
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: usize) {
        self.cluster().create_topic(topic, partitions, &[]).expect("the topic is made");
    }

    /// Writes lines to a partition, one a record, and waits until they are acknowledged.
    pub fn produce<T: AsRef<str>>(&self, topic: &str, partition: i32, lines: &[T]) {
        let producer = self.producer(&[]);
        send(&producer, topic, partition, lines);
        producer.flush(Duration::from_secs(60)).expect("the records are acknowledged");
    }

    /// Writes lines to a partition in one transaction, which is committed or aborted.
    pub fn transaction<T: AsRef<str>>(&self, topic: &str, partition: i32, lines: &[T], commit: bool) {
        let wait = Duration::from_secs(60);
        let producer = self.producer(&[("transactional.id", "thalweg-test")]);
        producer.init_transactions(wait).expect("transactions are possible");
        producer.begin_transaction().expect("a transaction begins");
        send(&producer, topic, partition, lines);
        // Aborting throws away what is not sent yet; the test wants it in the log.
        producer.flush(wait).expect("the records are acknowledged");
        let ended = if commit { producer.commit_transaction(wait) } else { producer.abort_transaction(wait) };
        ended.expect("the transaction ends");
    }

    /// The offset that a consumer group has committed.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("group.id", group);
        let consumer: BaseConsumer = config.create().expect("the configuration is valid");
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let answer = consumer.committed_offsets(list, Duration::from_secs(10)).ok()?;
        let found = answer.find_partition(topic, partition)?.offset();
        if let Offset::Offset(offset) = found { Some(offset) } else { None }
    }

    /// Deletes the records of a partition before an offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        let admin: AdminClient<DefaultClientContext> = config.create().expect("the configuration is valid");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
        let deleted = futures::executor::block_on(admin.delete_records(&list, &AdminOptions::new()));
        deleted.expect("the records are deleted");
    }

    fn producer(&self, more: &[(&str, &str)]) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("acks", "all").set("linger.ms", "2");
        for (name, value) in more {
            config.set(*name, *value);
        }
        config.create().expect("the configuration is valid")
    }

    fn await_ready(&mut self) {
        let begun = Instant::now();
        let cluster = self.cluster();
        let ready = || match cluster.partitions("ready") {
            Ok(Some(_)) => cluster.end("ready").is_ok(),
            Ok(None) => cluster.create_topic("ready", 1, &[]).is_ok(),
            Err(_) => false,
        };
        while !ready() {
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || begun.elapsed() > START {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                panic!("the broker does not start:\n{log}");
            }
        }
    }

    fn end(&mut self, how: &str) {
        if let Some(mut child) = self.child.take() {
            if let Some(mut input) = child.stdin.take() {
                let _ = writeln!(input, "{how}");
            }
            let _ = child.wait();
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.end("KILL REMOVE");
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn send<T: AsRef<str>>(producer: &BaseProducer, topic: &str, partition: i32, lines: &[T]) {
    for line in lines {
        let mut record = BaseRecord::<[u8], str>::to(topic).partition(partition).payload(line.as_ref());
        while let Err((error, back)) = producer.send(record) {
            assert!(error.to_string().contains("Queue full"), "{error}");
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
}

fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kafka"))
}

/// The folder of Kafka's jars, fetched if they are not there yet.
fn jars() -> PathBuf {
    let output = Command::new(scripts().join("run")).arg("--fetch").output().expect("bash is there");
    assert!(output.status.success(), "Kafka's jars: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// Ports that are free now, all different, below those that the system gives to clients: a client that calls a port of theirs while
/// nobody listens there may be connected to itself, and hold it.
fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16 % 500 * 40;
    std::array::from_fn(|_| {
        let mut candidates =
            std::iter::repeat_with(|| 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000);
        candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
    })
}
