//! What the demo prints once it runs: how to connect and what to try.

use std::net::SocketAddr;
use std::path::Path;

use super::folder::Stream;
use super::views::{QUERIES, TOPIC};

/// Prints it.
pub(crate) fn print(address: SocketAddr, stream: &Stream, data_dir: &Path, resumed: bool) {
    print!("{}", text(address, stream, data_dir, resumed, psql_is_installed()));
}

fn text(address: SocketAddr, stream: &Stream, data_dir: &Path, resumed: bool, psql: bool) -> String {
    let from = match &stream.kafka {
        Some(broker) => format!("through Kafka topic {TOPIC} at {broker}"),
        None => "made by the generator".to_string(),
    };
    let goes_on = if resumed { ", going on where it stopped" } else { "" };
    let mut text = format!(
        "\nThalweg demo: e-commerce events, {}, {from}{goes_on}.\n\
         Source events; views event_type_counts, brand_funnel, events_per_minute; data in {}.\n\n\
         Connect from another terminal:\n\n  psql -h {} -p {}\n\n",
        stream.rate,
        data_dir.display(),
        address.ip(),
        address.port()
    );
    if !psql {
        text.push_str(&format!("psql is not installed here; get it with\n\n  {}\n\n", install_line()));
    }
    text.push_str("and try (\\watch 1 after a query repeats it every second):\n\n");
    for query in QUERIES {
        text.push_str(&format!("  {}\n\n", query.replace('\n', "\n  ")));
    }
    text.push_str("Ctrl-C stops with a checkpoint.\n\n");
    text
}

fn psql_is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("psql").is_file())
}

/// How this system installs psql.
fn install_line() -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew install libpq && brew link --force libpq";
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    install_line_of(&release)
}

fn install_line_of(release: &str) -> &'static str {
    let family: Vec<&str> = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|names| names.trim_matches('"').split_whitespace())
        .collect();
    let is = |names: &[&str]| family.iter().any(|name| names.contains(name));
    if is(&["fedora", "rhel", "centos"]) {
        "sudo dnf install postgresql"
    } else if is(&["arch"]) {
        "sudo pacman -S postgresql-libs"
    } else if is(&["alpine"]) {
        "sudo apk add postgresql-client"
    } else if is(&["suse", "opensuse"]) {
        "sudo zypper install postgresql"
    } else {
        "sudo apt-get install postgresql-client"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_has_the_line_to_paste_and_three_queries() {
        let stream = Stream { rate: "10000/min".into(), kafka: None };
        let address = "127.0.0.1:7654".parse().unwrap();
        let shown = text(address, &stream, Path::new("./thalweg-demo"), false, true);
        assert!(shown.contains("\n  psql -h 127.0.0.1 -p 7654\n"), "{shown}");
        assert!(!shown.contains("not installed"), "{shown}");
        assert_eq!(shown.matches("  SELECT ").count(), 3, "{shown}");
        let shown = text(address, &stream, Path::new("d"), true, false);
        assert!(shown.contains("install") && shown.contains("going on where it stopped"), "{shown}");
    }

    #[test]
    fn install_lines_follow_the_system() {
        assert_eq!(install_line_of("ID=ubuntu\nID_LIKE=debian"), "sudo apt-get install postgresql-client");
        assert_eq!(install_line_of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\""), "sudo dnf install postgresql");
        assert_eq!(install_line_of("ID=arch"), "sudo pacman -S postgresql-libs");
        assert_eq!(install_line_of(""), "sudo apt-get install postgresql-client");
    }
}
