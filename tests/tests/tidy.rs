//! The rules of the source tree that no compiler checks: who may depend on whom, what every file
//! begins with, how long it may be, and that the documents name only paths that exist.
//!
//! Each test prints every breach it finds, with what to do. Does not judge style: rustfmt and clippy do.

#![expect(clippy::unwrap_used, reason = "a test and its helpers stop where they cannot go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's folders and, for each, the workspace packages that it depends on. Exactly these.
const EDGES: [(&str, &[&str]); 4] = [
    ("server", &["thalweg-connectors", "thalweg-dataflow", "thalweg-sql"]),
    ("sql", &["thalweg-dataflow"]),
    ("sql/dataflow", &[]),
    ("connectors", &["thalweg-dataflow"]),
];

/// Crates that only these folders may use, whatever another needs them for. The tests write to Kafka
/// and make compressed files by themselves: what checks a thing must not come from it.
const ONLY_IN: [(&str, &[&str]); 7] = [
    ("sled", &["sql/dataflow"]),
    ("rdkafka", &["connectors", "tests"]),
    ("rdkafka-sys", &["connectors"]),
    ("flate2", &["connectors"]),
    ("zstd", &["connectors", "tests"]),
    ("object_store", &["connectors"]),
    ("pgwire", &["server"]),
];

/// Lines that a file may have, those of its tests not counted.
const MAX_LINES: usize = 500;

/// Files that may be longer, each with the reason.
const LONGER: [(&str, &str); 2] = [
    ("sql/dataflow/src/graph.rs", "adding, sharing, running and dropping a node keep one set of invariants"),
    ("sql/src/planner/functions/sums.rs", "one sum, with its accumulators for rows and for groups"),
];

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// All files below the root with this ending, as paths from the root; no build output, nothing hidden.
fn files(ending: &str) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path());
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &mut found);
    let names = found.iter().map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with all breaches at once.
fn none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// The names of all dependencies in a Cargo.toml, those of tests, builds and targets included.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
            // [dependencies.name] declares one as well.
            if let Some((before, name)) = section.rsplit_once('.')
                && before.ends_with("dependencies")
                && !before.starts_with("workspace")
            {
                found.insert(name.trim_matches('"').to_owned());
            }
        } else if section.ends_with("dependencies") && !line.starts_with('#') && line.contains('=') {
            let name = line.split(['.', '=']).next().unwrap_or(line).trim().trim_matches('"');
            found.insert(name.to_owned());
            // name = { package = "other" } would go around the rules.
            if let Some((_, renamed)) = line.split_once("package = \"") {
                found.extend(renamed.split('"').next().map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn dependencies_point_one_way() {
    let mut breaches = Vec::new();
    let manifests: BTreeMap<String, BTreeSet<String>> = files("Cargo.toml")
        .into_iter()
        .filter_map(|name| name.strip_suffix("/Cargo.toml").map(str::to_owned))
        .map(|folder| (folder.clone(), dependencies(&read(&format!("{folder}/Cargo.toml")))))
        .collect();
    let folders: BTreeSet<&str> = manifests.keys().map(String::as_str).collect();
    let expected: BTreeSet<&str> = EDGES.iter().map(|(folder, _)| *folder).chain(["tests", "tests/fuzz"]).collect();
    if folders != expected {
        breaches.push(format!("packages are {folders:?}, the design names {expected:?}"));
    }
    for (folder, allowed) in EDGES {
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let Some(used) = manifests.get(folder) else { continue };
        let used: BTreeSet<&str> = used.iter().map(String::as_str).filter(|name| name.starts_with("thalweg")).collect();
        if used != allowed {
            breaches.push(format!("{folder}/Cargo.toml depends on {used:?}, the design says exactly {allowed:?}"));
        }
    }
    for (name, homes) in ONLY_IN {
        for (folder, used) in &manifests {
            if used.contains(name) && !homes.contains(&folder.as_str()) {
                breaches
                    .push(format!("{folder}/Cargo.toml depends on {name}, which only {homes:?} may: go through it"));
            }
        }
    }
    none(&breaches);
}

#[test]
fn the_list_of_dependencies_is_read_as_cargo_does() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nsled.workspace = true\n# pgwire = 1\nfoo = { version = \"1\", \
                    package = \"zstd\" }\n[dev-dependencies.rdkafka]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\n\
                    libc = \"1\"\n[features]\na = []\n";
    let found: Vec<String> = dependencies(manifest).into_iter().collect();
    assert_eq!(found, ["foo", "libc", "rdkafka", "sled", "zstd"]);
}

#[test]
fn every_file_says_what_it_is() {
    let breaches = files(".rs")
        .into_iter()
        .filter(|name| !read(name).starts_with("//! "))
        .map(|name| format!("{name} does not open with `//! `: what it is, what it promises, what it does not do"));
    none(&breaches.collect::<Vec<_>>());
}

/// Lines in front of the tests of a file; none for a file of tests.
fn lines_without_tests(name: &str, text: &str) -> usize {
    let file = name.rsplit('/').next().unwrap_or(name);
    if name.contains("/tests/") || ["tests.rs", "measure.rs"].contains(&file) {
        return 0;
    }
    text.lines().take_while(|line| *line != "mod tests {").count()
}

#[test]
fn files_are_short() {
    let mut breaches = Vec::new();
    let mut longer: BTreeMap<&str, &str> = LONGER.into_iter().collect();
    for name in files(".rs") {
        let lines = lines_without_tests(&name, &read(&name));
        let reason = longer.remove(name.as_str());
        match (lines > MAX_LINES, reason) {
            (true, None) => {
                breaches.push(format!("{name} has {lines} lines, more than {MAX_LINES}: one concept, one file"));
            }
            (false, Some(_)) => breaches.push(format!("{name} is short now: take it from the list of exceptions")),
            _ => {}
        }
    }
    breaches.extend(longer.keys().map(|name| format!("{name} is in the list of exceptions and does not exist")));
    none(&breaches);
}

/// What stands between backticks on one line, outside of fenced blocks.
fn code_spans(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (number + 1, span.to_owned())));
        }
    }
    found
}

/// The targets of the links of a line that lie in this repository.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

#[test]
fn documents_name_paths_that_exist() {
    let root = root();
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let mut breaches = Vec::new();
    for name in files(".md").into_iter().filter(|name| name == "README.md" || name.starts_with("docs/")) {
        let text = read(&name);
        for (line, span) in code_spans(&text) {
            let first = span.split('/').next().unwrap_or_default();
            // A path is something below one of our folders: `server/src/main.rs`, not `text/html`.
            let ours = span.contains('/') && plain(&span) && !first.is_empty() && root.join(first).is_dir();
            if ours && !root.join(&span).exists() {
                breaches.push(format!("{name}:{line} names `{span}`, which does not exist"));
            }
        }
        let folder = root.join(&name).parent().unwrap().to_path_buf();
        for (line, target) in links(&text) {
            if !folder.join(&target).exists() {
                breaches.push(format!("{name}:{line} links to {target}, which does not exist"));
            }
        }
    }
    none(&breaches);
}

#[test]
fn spans_and_links_are_found() {
    let text = "a `x/y` and `z`\n```\n`no/t`\n```\n[here](a.md#part), [there](https://x.y/z)\n";
    assert_eq!(code_spans(text), [(1, "x/y".to_owned()), (1, "z".to_owned())]);
    assert_eq!(links(text), [(5, "a.md".to_owned())]);
}
