//! A real PostgreSQL in a temporary folder: the reference for meaning and for what psql prints.
//!
//! Promises: it serves a unix socket only; it is stopped and its folder gone when the value is
//! dropped. Panics where a test cannot go on; needs PostgreSQL 15's programs and, as root,
//! `runuser`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A server.
#[derive(Debug)]
pub struct Postgres {
    dir: tempfile::TempDir,
    child: Child,
}

/// Where the programs lie.
fn program(name: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join(name).is_file())
        .collect();
    folders.sort();
    folders.pop().map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
}

/// PostgreSQL refuses to run as root: then another user runs it.
fn unprivileged(program: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", USER, "--"]).arg(program);
    command
}

/// Who runs it when the test is root.
const USER: &str = "postgres";

impl Postgres {
    /// Starts an empty one that sorts as the locale C and knows the letters of Unicode, as ours.
    pub fn start() -> Postgres {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let chown = Command::new("chown").arg(USER).arg(dir.path()).output();
        // Without being root nobody else needs the folder.
        drop(chown);
        let data = dir.path().join("data");
        let made = unprivileged(&program("initdb"))
            .current_dir("/")
            .args([
                "--no-sync",
                "--auth=trust",
                "--locale=C",
                "--lc-ctype=C.UTF-8",
                "--encoding=UTF8",
                "--username=tester",
                "-D",
            ])
            .arg(&data)
            .output()
            .expect("initdb is there (apt-get install postgresql-15)");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = File::create(dir.path().join("log")).expect("the log file");
        let child = unprivileged(&program("postgres"))
            .current_dir("/")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(dir.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn()
            .expect("postgres starts");
        let mut postgres = Postgres { dir, child };
        let start = Instant::now();
        while !postgres.psql("SELECT 1").status.success() {
            let ended = postgres.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none() && start.elapsed() < READY_WITHIN, "PostgreSQL did not start: {}", postgres.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        postgres
    }

    /// What psql prints for a text.
    pub fn psql(&self, sql: &str) -> Output {
        psql(&self.dir.path().display().to_string(), 5432, "postgres", sql)
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        self.dir.path()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The postmaster's first line of its pid file; runuser passes no signal on by itself.
        let pid = std::fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = Command::new("kill").args(["-s", "INT", pid]).status();
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Runs psql without a start-up file, in UTC, over a text on its standard input.
pub fn psql(host: &str, port: u16, database: &str, sql: &str) -> Output {
    let mut child = Command::new("psql")
        .args(["-X", "-h", host, "-p", &port.to_string(), "-U", "tester", "-d", database])
        .env("PGTZ", "UTC")
        .env("PAGER", "")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql is there (apt-get install postgresql-client)");
    let mut input = child.stdin.take().expect("it was asked for");
    // psql that could not connect does not read.
    let _ = input.write_all(sql.as_bytes());
    drop(input);
    child.wait_with_output().expect("psql ends")
}
