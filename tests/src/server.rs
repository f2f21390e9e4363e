//! A real server in a temporary folder, started, killed and started again by tests.
//!
//! Promises: [`Server::start`] returns once a client can open a session; the process and its
//! folder are gone when the value is dropped; on a panic the end of its log is printed. Uses the
//! `thalweg` binary that lies beside the test executable.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to be ready, recovery included.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long a server may take to stop with a checkpoint.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// How to start a server.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Further arguments of `thalweg serve`.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
    /// The folder to start it in (relative LOCATIONs are relative to it); the temporary one if not
    /// given.
    pub start_dir: Option<PathBuf>,
}

/// A server that runs, or was killed and can run again.
#[derive(Debug)]
pub struct Server {
    options: Options,
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

/// The `thalweg` binary that was built with this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join("thalweg")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("no thalweg binary near {}: build it first (cargo build --release --workspace)", test.display())
    })
}

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

impl Server {
    /// Starts a server with an empty data folder.
    pub fn start(options: Options) -> Server {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut server = Server { options, dir, port: free_port(), child: None };
        server.restart();
        server
    }

    /// Starts it again on what its data folder holds.
    pub fn restart(&mut self) {
        self.kill9();
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the log file");
        let child = Command::new(binary())
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(&self.options.args)
            .envs(self.options.env.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .current_dir(self.options.start_dir.as_deref().unwrap_or(self.dir.path()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        self.wait_until_ready();
    }

    /// The port it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The temporary folder around the data folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The processor time that its threads of this name have used so far, in clock ticks.
    pub fn ticks(&self, thread: &str) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        // A thread that ends while it is looked at counts no more.
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        stats.filter_map(|stat| ticks_of(&stat, thread)).sum()
    }

    /// The most memory it had resident since its start or the last [`Server::forget_peak`], in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:") << 10
    }

    /// Memory that it has resident now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:") << 10
    }

    /// From now on [`Server::peak_memory`] starts over.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("Linux lets us");
    }

    /// A line of `/proc/.../status`, in its unit.
    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux tells it");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The connection string of tokio-postgres.
    pub fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user=tester dbname=thalweg", self.port)
    }

    /// Ends it as a power failure would; it can be started again.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop (SIGTERM) and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} works");
    }

    /// Waits for it to end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("the server can be waited for") {
                return status;
            }
            if start.elapsed() > STOPPED_WITHIN {
                let _ = child.kill();
                panic!("the server did not stop within {STOPPED_WITHIN:?}\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A session through tokio-postgres; its connection runs as a task until the client is dropped.
    pub async fn connect(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls)
            .await
            .unwrap_or_else(|error| panic!("cannot connect: {error:?}\n{}", self.log_tail()));
        tokio::spawn(connection);
        client
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("--- the server's log ---\n{}", lines[lines.len().saturating_sub(60)..].join("\n"))
    }

    fn wait_until_ready(&mut self) {
        let start = Instant::now();
        while !greets(self.port) {
            let child = self.child.as_mut().expect("it was just started");
            if let Some(status) = child.try_wait().expect("the server can be waited for") {
                panic!("the server ended at start: {status}\n{}", self.log_tail());
            }
            assert!(
                start.elapsed() < READY_WITHIN,
                "the server was not ready within {READY_WITHIN:?}\n{}",
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// utime and stime of a line of `/proc/.../stat`, if it is about a thread of this name.
fn ticks_of(stat: &str, thread: &str) -> Option<u64> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    (name == thread).then(|| Some(fields.next()?? + fields.next()??)).flatten()
}

/// Whether sessions can be opened: the answer to a startup packet is about authentication, or a
/// refusal that is not about the start.
fn greets(port: u16) -> bool {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut packet = vec![0, 0, 0, 0, 0, 3, 0, 0];
    packet.extend_from_slice(b"user\0tester\0database\0thalweg\0\0");
    packet[3] = packet.len() as u8;
    let mut answer = [0; 256];
    let asked = socket.set_read_timeout(Some(Duration::from_secs(5))).and_then(|()| socket.write_all(&packet));
    let read = asked.and_then(|()| socket.read(&mut answer)).unwrap_or(0);
    let is_starting = || answer.windows(5).any(|code| code == b"57P03");
    match answer[..read].first() {
        Some(b'R') => true,
        Some(b'E') => !is_starting(),
        _ => false,
    }
}
